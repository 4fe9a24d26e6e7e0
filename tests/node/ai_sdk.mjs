// Generates pictures with Vercel's AI SDK, and prints on one line what came back:
//
//   node ai_sdk.mjs http://127.0.0.1:7860 picture.png
import { readFileSync } from "node:fs";
import { createOpenAI } from "@ai-sdk/openai";
import { generateImage } from "ai";

const [url, file] = process.argv.slice(2);
const studio = createOpenAI({ baseURL: `${url}/v1`, apiKey: "sk-any" });
const prompt = "a red circle";
const calls = [
  { model: studio.image("gpt-image-1"), prompt, size: "1536x1024", providerOptions: { openai: { quality: "low" } } },
  { model: studio.image("dall-e-3"), prompt, size: "1024x1792", providerOptions: { openai: { style: "vivid" } } },
  { model: studio.image("embedded"), prompt, size: "128x128", n: 2 },
  { model: studio.image("gpt-image-1"), prompt: { text: prompt, images: [readFileSync(file)] } },
];
const made = [];
for (const call of calls) {
  const { images, providerMetadata } = await generateImage({ ...call, maxRetries: 0 });
  const [{ size, quality }] = providerMetadata.openai.images;
  made.push({ size, quality, pictures: images.map((image) => image.base64) });
}
const refused = await generateImage({ model: studio.image("embedded"), prompt, size: "4096x128", maxRetries: 0 }).catch(
  (error) => error.message,
);
console.log(JSON.stringify({ made, refused }));
