// The tab "Create": what its pictures, its prompt and its fields do in the browser.
(() => {
  const { ask, askJson, callPage, notify, setValue, watch } = StudioElements;
  const { translate, translateCount } = StudioLanguage;
  const { getPromptField, insertWords } = StudioPrompt;
  // After this time, a job whose page is hidden is worth a notification.
  const LONG_JOB_MILLISECONDS = 10_000;

  // Buttons whose HTML comes from the server.
  const ACTIONS = {
    cancel: cancelJobs,
    press: (id) => document.getElementById(id).click(),
    show: (picture) => callPage("stage", "show", picture),
    example: (prompt) => {
      setValue(getPromptField(), prompt);
      document.querySelector(".workspace button.generate").click();
    },
    insert: insertWords,
    favourite: async (picture, button) => {
      const favourite = button.getAttribute("aria-pressed") !== "true";
      await ask(`pictures/${picture}`, { method: "PATCH", body: { favourite } });
      button.setAttribute("aria-pressed", String(favourite));
    },
    large: (picture) => largePictures.show(picture),
    delete: deletePicture,
  };

  document.addEventListener("click", async (event) => {
    const target = event.target.closest?.(".workspace button, .workspace summary, .workspace a");
    for (const menu of document.querySelectorAll(".workspace .menu[open]")) {
      // Not a click by a script, such as that on the button that refreshes the page.
      if (!event.isTrusted) break;
      if (!menu.contains(target) || target.tagName === "A") menu.open = false;
    }
    for (const [name, action] of Object.entries(ACTIONS)) {
      if (target?.dataset[name] === undefined) continue;
      try {
        await action(target.dataset[name], target);
      } catch (error) {
        notify(error.message);
      }
    }
  });

  async function cancelJobs(id, button) {
    const list = button.closest("section");
    const own = id === "all" ? [...list.querySelectorAll("li [data-cancel]")] : [button];
    own.forEach((each) => (each.disabled = true));
    await Promise.all(own.map((each) => ask(`jobs/${each.dataset.cancel}`, { method: "DELETE" })));
    own.forEach((each) => each.closest("li").remove());
    if (!list.querySelector("li")) list.remove();
  }

  // Pictures that are deleted or brought back in the library are so here, too.
  document.addEventListener("studio-pictures-changed", () => callPage("stage", "refresh", ""));

  // A click on the picture shows it in the whole window, and from there those before it.
  const LARGE_PAGE_SIZE = 60;
  const largePictures = {
    pictures: [],
    async show(id) {
      const { pictures, next } = await askJson(`pictures?limit=${LARGE_PAGE_SIZE}`);
      const isListed = pictures.some((picture) => picture.id === id);
      Object.assign(this, { shown: id, next, pictures: isListed ? pictures : [await askJson(`pictures/${id}`), ...pictures] });
      this.viewer ??= new StudioViewer.Viewer(this);
      document.querySelector(".gradio-container .contain").append(this.viewer.dialog);
      this.viewer.open(id);
    },
    async loadMore() {
      if (!this.next) return;
      const { pictures, next } = await askJson(`pictures?limit=${LARGE_PAGE_SIZE}&after=${encodeURIComponent(this.next)}`);
      this.pictures.push(...pictures);
      this.next = next;
    },
    replace(picture) {
      this.pictures[this.pictures.findIndex(({ id }) => id === picture.id)] = picture;
      document.querySelector(`[data-favourite="${picture.id}"]`)?.setAttribute("aria-pressed", String(picture.favourite));
    },
    async delete([deleted]) {
      await deletePicture(deleted);
      this.pictures = this.pictures.filter(({ id }) => id !== deleted);
    },
    report: (promise) => promise.catch((error) => notify(error.message)),
    // The stage shows the picture that was seen last.
    leave({ id }) {
      if (id !== this.shown) callPage("stage", "show", id);
      document.querySelector(".files [data-large]")?.focus();
    },
  };
  document.addEventListener("click", ({ target }) => {
    if (target.matches?.(".stage.finished img")) document.querySelector(".files [data-large]")?.click();
  });

  async function deletePicture(picture) {
    await ask(`pictures/${picture}`, { method: "DELETE" });
    callPage("stage", "refresh", "");
    notify(translateCount("{count} picture was deleted.", "{count} pictures were deleted.", 1), translate("Undo"), async () => {
      await ask(`pictures/${picture}`, { method: "PATCH", body: { deleted: false } });
      callPage("stage", "refresh", "");
    });
  }

  // Settings as a sheet, on a small screen.
  const setSheet = (open) => document.querySelector(".workspace").classList.toggle("sheet-open", open);
  document.addEventListener("click", (event) => {
    const workspace = document.querySelector(".workspace");
    if (!workspace) return;
    if (event.target.closest?.(".sheet-button")) return setSheet(!workspace.classList.contains("sheet-open"));
    const isInside = event.target.closest?.(".settings, [role=listbox], .options");
    if (event.target === workspace || event.target.closest?.("button.generate") || !isInside) setSheet(false);
  });
  document.addEventListener("keydown", (event) => {
    const isField = event.target.matches?.(".workspace .prompt textarea, #field-negative_prompt textarea");
    if (event.key === "Escape" && !isField && document.querySelector(".workspace.sheet-open")) setSheet(false);
  });

  // Numbers. Gradio replaces an empty one by the least and one that is too large by the most, and does not say so.
  let entered = "";
  const isNumberBox = (element) => element.matches?.(".workspace input[type=number]");
  document.addEventListener("focusin", ({ target }) => {
    if (isNumberBox(target)) entered = target.value;
  });
  document.addEventListener(
    "blur",
    ({ target }) => {
      if (!isNumberBox(target)) return;
      const [value, least, most] = [Number(target.value), Number(target.min), Number(target.max)];
      if (target.value === "") return setValue(target, entered);
      clearProblem(target.closest(".block"));
      if (value < least) showProblem(target.closest(".block"), translate("It must be at least {limit}, and is {limit} now.", { limit: least }));
      if (value > most) showProblem(target.closest(".block"), translate("It can be at most {limit} here, and is {limit} now.", { limit: most }));
    },
    true,
  );

  // Errors at their fields.
  function clearProblem(block) {
    block?.querySelector(".field-problem")?.remove();
    block?.querySelector("[aria-invalid]")?.removeAttribute("aria-invalid");
  }

  function showProblem(block, text) {
    clearProblem(block);
    const line = Object.assign(document.createElement("p"), { className: "field-problem", textContent: text });
    block.append(line);
    block.querySelector("textarea, input")?.setAttribute("aria-invalid", "true");
  }

  function showFieldProblem(alert) {
    const block = document.getElementById(`field-${alert.dataset.field}`);
    if (!block) return;
    block.closest(".closable")?.querySelector("button.label-wrap:not(.open)")?.click();
    showProblem(block, alert.textContent);
    block.scrollIntoView({ block: "nearest" });
    block.querySelector("textarea, input:not([type=file])")?.focus();
  }

  // Another tool has other fields.
  document.addEventListener("click", ({ target }) => {
    if (!target.closest?.(".workspace .tools [role=tab]")) return;
    document.querySelectorAll(".workspace .field-problem").forEach((line) => clearProblem(line.closest(".block")));
    document.querySelector(".workspace .status .state[data-field]")?.remove();
  });

  // The title and the icon of the browser's tab show the progress, and a notification tells the end of a long job.
  const TITLE = document.title || "Image Studio";
  const ASKED_KEY = "studio-asked-for-notifications";
  let startedAt = 0;
  let hadLongJob = false;
  let icon;

  function drawIcon(share) {
    icon ??= document.querySelector("link[rel~=icon]");
    if (!icon) return;
    icon.dataset.plain ??= icon.href;
    if (share === null) {
      icon.href = icon.dataset.plain;
      return;
    }
    const canvas = Object.assign(document.createElement("canvas"), { width: 64, height: 64 });
    const pen = canvas.getContext("2d");
    pen.lineWidth = 12;
    for (const [colour, end] of [["#d0ccc4", 1], ["#c4451f", share]]) {
      pen.beginPath();
      pen.strokeStyle = colour;
      pen.arc(32, 32, 24, -Math.PI / 2, -Math.PI / 2 + end * 2 * Math.PI);
      pen.stroke();
    }
    icon.href = canvas.toDataURL();
  }

  const isJobLong = () => Boolean(startedAt) && Date.now() - startedAt > LONG_JOB_MILLISECONDS;

  function tellEnd(text) {
    const isLong = isJobLong();
    hadLongJob ||= isLong;
    startedAt = 0;
    if (!isLong || !document.hidden || window.Notification?.permission !== "granted") return;
    const notification = new Notification(TITLE, { body: text, icon: document.querySelector(".stage.finished > img")?.src });
    notification.onclick = () => {
      window.focus();
      notification.close();
    };
  }

  // Browsers allow the question only after a click: the first Generate during a long job, or after one, asks once.
  document.addEventListener("click", (event) => {
    if (!event.target.closest?.(".workspace button.generate")) return;
    document.querySelectorAll(".workspace .field-problem").forEach((line) => clearProblem(line.closest(".block")));
    if ((hadLongJob || isJobLong()) && window.Notification?.permission === "default" && !localStorage.getItem(ASKED_KEY)) {
      localStorage.setItem(ASKED_KEY, "yes");
      Notification.requestPermission();
    }
  });

  function readStatus(status) {
    const state = status.querySelector(".state");
    if (!state) return;
    if (state.dataset.field) showFieldProblem(state);
    if (state.classList.contains("running")) {
      startedAt ||= Date.now();
      const share = Number(status.querySelector("[role=progressbar]")?.getAttribute("aria-valuenow") ?? 0) / 100;
      document.title = `${Math.round(share * 100)} % · ${TITLE}`;
      drawIcon(share);
    } else {
      document.title = TITLE;
      drawIcon(null);
      if (startedAt) tellEnd(state.textContent);
    }
  }

  // Buttons with a picture instead of a text.
  document.addEventListener("pointerover", ({ target }) => {
    const button = target.closest?.(".with-icon, .files button");
    if (button) button.title ||= button.ariaLabel || button.textContent.trim();
  });

  // Gradio names its upload buttons otherwise than they read.
  watch(".workspace .subject", (subject) => {
    for (const upload of subject.querySelectorAll("button[aria-label]:has([data-testid=upload-text])")) {
      upload.removeAttribute("aria-label");
    }
  });

  // Gradio gives each radio button a name of its own. As a group they are one stop of the Tab key, and arrow keys choose.
  watch(".workspace", (workspace) => {
    for (const fieldset of workspace.querySelectorAll("fieldset:has(input[type=radio])")) {
      const radios = [...fieldset.querySelectorAll("input[type=radio]")];
      for (const radio of radios) if (radio.name !== radios[0].name) radio.name = radios[0].name;
    }
  }, ["name"]);

  // The star tells what the library says of the picture.
  async function readFavourite(button) {
    const { pictures } = await askJson(`pictures?id=${button.dataset.favourite}`);
    // None if it was deleted meanwhile.
    if (pictures.length) button.setAttribute("aria-pressed", String(pictures[0].favourite));
  }

  // Jobs that the user starts elsewhere, in another tab or with a program, are shown here, too. When the newest one has
  // ended, the pictures are read again: an earlier list may have arrived after that with its pictures.
  const ENDED_STATES = ["done", "failed", "cancelled"];
  const JOBS_MILLISECONDS = 3000;
  let newestJob;
  async function checkJobs() {
    if (!document.hidden && document.documentElement.dataset.studio !== "offline") {
      try {
        const { jobs } = await askJson("jobs?limit=1");
        const job = jobs.length ? `${jobs[0].id} ${ENDED_STATES.includes(jobs[0].state)}` : "";
        if (newestJob !== undefined && job !== newestJob) document.getElementById("jobs-refresh")?.click();
        newestJob = job;
      } catch {
        // page.js says when the studio does not answer.
      }
    }
    setTimeout(checkJobs, JOBS_MILLISECONDS);
  }
  // At once: a job that is started from now on is another one than this first answer tells.
  checkJobs();

  watch(".workspace .status", readStatus);
  // The prompt has the focus until the user does something. On a touch screen the keyboard would cover the page.
  if (matchMedia("(hover: hover)").matches) {
    let isUsed = false;
    for (const type of ["keydown", "pointerdown"]) document.addEventListener(type, () => (isUsed = true), { once: true, capture: true });
    watch(".workspace .prompt", () => isUsed || document.activeElement !== document.body || getPromptField().focus());
  }
  watch(".workspace .actions", (actions) => {
    const button = actions.querySelector("[data-favourite]");
    if (!button || button.dataset.read) return;
    button.dataset.read = "true";
    // Gradio shows the buttons of the picture before for a moment.
    setTimeout(() => button.isConnected && readFavourite(button).catch(() => {}), 200);
  });

  // Removing a LoRA hides its chip, and with it the button that had the focus. The one before gets it, or the list.
  document.addEventListener("click", ({ target }) => {
    const remove = target.closest?.(".stack .chip button.remove");
    if (remove?.matches(":focus-visible")) focusWhenHidden(remove, 40);
  });

  function focusWhenHidden(remove, tries) {
    if (remove.getClientRects().length) return tries && setTimeout(focusWhenHidden, 50, remove, tries - 1);
    const left = [...document.querySelectorAll(".stack .chip button.remove")].filter((each) => each.getClientRects().length);
    (left.at(-1) ?? document.querySelector("#field-loras input")).focus();
  }
})();
