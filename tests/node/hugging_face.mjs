// Generates pictures with @huggingface/inference, and prints on one line what came back:
//
//   node hugging_face.mjs http://127.0.0.1:7860 picture.png
import { readFileSync } from "node:fs";
import { InferenceClient } from "@huggingface/inference";

const [url, file] = process.argv.slice(2);
const studio = new InferenceClient("hf_any", { endpointUrl: `${url}/hf` });
const picture = new Blob([readFileSync(file)], { type: "image/png" });
const parameters = { num_inference_steps: 2, seed: 7 };
const made = [
  await studio.textToImage({ inputs: "a red circle", parameters: { ...parameters, width: 96, height: 128 } }),
  await studio.imageToImage({
    inputs: picture,
    parameters: { ...parameters, prompt: "a lake", strength: 0.5, target_size: { width: 128, height: 96 } },
  }),
  await studio.imageToImage({ inputs: picture }),
];
const fast = new InferenceClient("hf_any").endpoint(`${url}/hf/models/embedded-fast`);
made.push(await fast.textToImage({ inputs: "a red circle", parameters: { seed: 7 } }));
const pictures = await Promise.all(made.map(async (blob) => Buffer.from(await blob.arrayBuffer()).toString("base64")));
const refused = await studio
  .textToImage({ inputs: "a red circle", parameters: { num_inference_steps: 0 } })
  .catch((error) => error.message);
console.log(JSON.stringify({ pictures, refused }));
