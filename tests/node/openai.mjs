// Uses OpenAI's own client as programs in JavaScript do, and says on one line what came of it:
//
//   node openai.mjs http://127.0.0.1:7860 picture.png
import { createReadStream } from "node:fs";
import OpenAI from "openai";

const [url, file] = process.argv.slice(2);
const client = new OpenAI({ baseURL: `${url}/v1`, apiKey: "sk-any", maxRetries: 0 });
const prompt = "a red circle";

const linked = await client.images.generate({ model: "dall-e-3", prompt, quality: "standard", style: "vivid" });
const file_type = (await fetch(linked.data[0].url)).headers.get("content-type");
const edited = await client.images.edit({
  model: "gpt-image-1",
  prompt,
  image: createReadStream(file),
  input_fidelity: "high",
  quality: "low",
});
const events = [];
const stream = await client.images.generate({ model: "gpt-image-1", prompt, quality: "low", stream: true });
for await (const event of stream) events.push([event.type, event.quality]);
const model = await client.models.retrieve("gpt-image-1");
const refused = await client.images.generate({ prompt, background: "transparent" }).catch((error) => error);
console.log(
  JSON.stringify({
    linked: { ...linked, receipts: undefined },
    file_type,
    edited: { requested: edited.requested, quality: edited.quality, picture: edited.data[0].b64_json },
    events,
    model: model.id,
    refused: [refused.status, refused.code, refused.param],
  }),
);
