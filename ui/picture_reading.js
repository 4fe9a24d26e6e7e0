// A picture file that is dropped anywhere on the page fills the form with its settings. Upload areas keep what is theirs.
(() => {
  const { askJson, callPage, notify } = StudioElements;
  const { translate } = StudioLanguage;
  // Gradio's upload areas, and dialogs.
  const UPLOADS = "[aria-dropeffect], .upload-container, input[type=file], dialog";
  const isUpload = (target) => Boolean(target.closest?.(UPLOADS));
  const hasFiles = (event) => [...(event.dataTransfer?.types ?? [])].includes("Files");
  const page = document.documentElement;
  function showHint(shown) {
    page.style.setProperty("--drop-hint", JSON.stringify(translate("Drop the picture to read its settings.")));
    page.classList.toggle("dropping", shown);
  }

  const readAsDataUrl = (file) => new Promise((resolve, reject) => {
    const reader = Object.assign(new FileReader(), { onload: () => resolve(reader.result), onerror: () => reject(reader.error) });
    reader.readAsDataURL(file);
  });

  async function readSettings(file) {
    try {
      if (!file.type.startsWith("image/")) throw new Error(translate("This file is not a picture."));
      const { model } = JSON.parse(document.querySelector(".prompt-facts [data-facts]").dataset.facts);
      const answer = await askJson("png_info", { method: "POST", body: { image: await readAsDataUrl(file), model } });
      callPage("picture-settings", "fill", JSON.stringify(answer));
    } catch (error) {
      notify(error.message);
    }
  }

  for (const type of ["dragenter", "dragover"]) {
    document.addEventListener(type, (event) => {
      if (!hasFiles(event)) return;
      showHint(!isUpload(event.target));
      // Without this, the browser would leave the page and show the file.
      event.preventDefault();
    });
  }
  // There is no element that the pointer goes to when it leaves the window.
  document.addEventListener("dragleave", (event) => event.relatedTarget === null && showHint(false));
  document.addEventListener("drop", (event) => {
    showHint(false);
    if (!hasFiles(event) || isUpload(event.target)) return;
    event.preventDefault();
    if (event.dataTransfer.files.length) readSettings(event.dataTransfer.files[0]);
  });

  // The same for those who do not drag.
  document.addEventListener("change", ({ target }) => {
    if (!target.matches?.("[data-read-settings] input")) return;
    if (target.files.length) readSettings(target.files[0]);
    target.value = "";
  });
  document.addEventListener("click", ({ target }) => {
    if (target.closest?.("[data-close-settings]")) callPage("picture-settings", "close", "");
  });
})();
