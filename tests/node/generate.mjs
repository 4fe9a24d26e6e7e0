// Paints a picture as a program in JavaScript does, and says on one line what came of it:
//
//   node generate.mjs http://127.0.0.1:7860 '{"prompt": "a red circle", "seed": 7}' [<bearer token>]
import { createHash } from "node:crypto";
import { Client } from "@gradio/client";

const [url, fields, token] = process.argv.slice(2);
// The client sends `headers` with all that it asks for; its option `token` is left out when it cancels a job.
const headers = token ? { Authorization: `Bearer ${token}` } : {};

async function generate() {
  const client = await Client.connect(url, { events: ["data", "status"], headers });
  const statuses = new Set();
  let result;
  for await (const event of client.submit("/txt2img", JSON.parse(fields))) {
    if (event.type === "data") result = event.data;
    if (event.type !== "status") continue;
    statuses.add(event.stage);
    if (event.stage === "error") throw Object.assign(new Error(event.message), { title: event.title });
    if (event.stage === "complete") break;
  }
  const [image, receipt] = result;
  return { statuses: [...statuses], receipt, image_url: image.url, sha256: await checksum(image.url) };
}

async function checksum(address) {
  const answer = await fetch(address, { headers });
  if (!answer.ok) throw new Error(`${address} answered ${answer.status}`);
  return createHash("sha256").update(Buffer.from(await answer.arrayBuffer())).digest("hex");
}

/** Exits at once: the client keeps its heartbeat open, and cannot close it. */
function leave(output, status) {
  process.stdout.write(`${JSON.stringify(output)}\n`, () => process.exit(status));
}

generate().then(
  (made) => leave(made, 0),
  (error) => leave({ error: error.message, title: error.title }, 1),
);
