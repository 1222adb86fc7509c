// Peer `express-cluster`: two workers behind Node's own cluster, as `node cluster.js PORT`.
import cluster from "node:cluster";
import { once } from "node:events";
import { serve } from "./server.js";

const WORKERS = 2;

/** Lets the workers listen when all of them have subscribed, so that none gets all the first clients. */
async function lead() {
  const workers = Array.from({ length: WORKERS }, () => cluster.fork());
  const ended = Promise.all(workers.map((worker) => once(worker, "exit")));
  const fail = () => process.exit(1); // half a cluster would be another peer
  cluster.on("exit", fail);
  process.once("SIGTERM", async () => {
    cluster.off("exit", fail);
    for (const worker of workers) worker.process.kill();
    await ended;
    process.exit();
  });
  await Promise.all(workers.map((worker) => once(worker, "message")));
  for (const worker of workers) worker.send("listen");
}

async function allSubscribed() {
  process.send("subscribed");
  await once(process, "message");
}

if (cluster.isPrimary) await lead();
else await serve(Number(process.argv.at(-1)), allSubscribed);
