// Makes and reads pictures with the client node-sd-webui, and prints on one line what came back:
//
//   node webui.mjs http://127.0.0.1:7860
import sdwebui from "node-sd-webui";

const client = (sdwebui.default ?? sdwebui)({ apiUrl: process.argv[2] });
const options = {
  prompt: "a red circle",
  negativePrompt: "a square",
  seed: 7,
  samplingMethod: "Euler a",
  batchSize: 1,
  batchCount: 1,
  steps: 3,
  width: 128,
  height: 128,
  cfgScale: 4,
  restoreFaces: false,
};

const made = await client.txt2img(options);
const repainted = await client.img2img({ ...options, imageData: made.images });
const info = await client.pngInfo({ imageData: made.images[0] });
process.stdout.write(JSON.stringify({ made: made.images, repainted: repainted.images, info }));
