// Peer `express`: one process, as `node one.js PORT`.
import { serve } from "./server.js";

process.once("SIGTERM", () => process.exit());
await serve(Number(process.argv.at(-1)));
