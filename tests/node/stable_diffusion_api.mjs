// Makes and enlarges pictures with the client stable-diffusion-api, and prints on one line what came back:
//
//   node stable_diffusion_api.mjs http://127.0.0.1:7860
import sdapi from "stable-diffusion-api";

const studio = new (sdapi.default ?? sdapi)({
  baseUrl: process.argv[2],
  defaultSampler: "Euler a",
  defaultStepCount: 3,
});
const options = { prompt: "a red circle", width: 128, height: 128 };

async function describe({ image, info }) {
  const { format, width, height } = await image.metadata();
  const { all_seeds, sampler_name, ignored } = JSON.parse(info);
  return { format, size: [width, height], all_seeds, sampler_name, ignored };
}

const made = await studio.txt2img({ ...options, seed: 7 });
const repainted = await studio.img2img({ ...options, init_images: [made.image], seed: 8 });
const enlarged = await studio.extraSingle({ image: made.image, upscaler_1: "Lanczos", upscaling_resize: 2 });
const { width, height } = await enlarged.image.metadata();
await studio.setOptions({ sd_model_checkpoint: "embedded" });
const { progress, state } = await studio.getProgress();
const { response } = await studio.txt2img({ ...options, width: 0 }).catch((error) => error);
console.log(
  JSON.stringify({
    made: await describe(made),
    repainted: await describe(repainted),
    enlarged: [width, height],
    progress: [progress, state.job_count],
    model: (await studio.getOptions()).sd_model_checkpoint,
    models: (await studio.getSdModels()).map((model) => model.title),
    samplers: (await studio.getSamplers()).map((sampler) => sampler.name),
    refused: [response.status, response.data.detail],
  }),
);
