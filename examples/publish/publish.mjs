// node publish.mjs SUBJECT PAYLOAD [NAME]: ends when the event is stored. NATS is lines of text: it needs no package.
import { connect } from "node:net";

const [subject, payload, name] = process.argv.slice(2);
const { hostname, port } = new URL(process.env.NATS_URL ?? "nats://127.0.0.1:4222");
const inbox = `_INBOX.${crypto.randomUUID()}`; // where JetStream answers
const headers = name ? `NATS/1.0\r\nSsecast-Event: ${name}\r\n\r\n` : "NATS/1.0\r\n\r\n";
const [head, whole] = [headers, headers + payload].map((text) => Buffer.byteLength(text));

const socket = connect(port || 4222, hostname);
socket.write('CONNECT {"verbose":false,"headers":true,"no_responders":true}\r\n');
socket.write(`SUB ${inbox} 1\r\nHPUB ${subject} ${inbox} ${head} ${whole}\r\n${headers}${payload}\r\n`);

let said = "";
for await (const chunk of socket) {
  said += chunk;
  const answer = said.match(/^(?:MSG|HMSG) .*\r\n([^]*)\r\n/m)?.[1];
  if (said.includes("-ERR") || answer?.startsWith("NATS/1.0 503")) throw new Error(said.match(/-ERR.*/)?.[0] ?? "no stream takes this subject");
  if (answer === undefined) continue;
  console.log("stored as", JSON.parse(answer).seq);
  socket.end();
  break;
}
