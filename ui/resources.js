// The models and the LoRAs as cards: found by words, downloaded, loaded, used, unloaded and deleted. They use the REST API
// of the studio, with the session of the page. What is downloaded or loaded is asked of the studio again and again, so
// that a card shows it in every window, whoever started it. Only administrators download and delete; others see no buttons
// for it.
(() => {
  const { ask, askJson, button, callPage, make, notify, readEvents } = StudioElements;
  const { code, locale, translate, translateCount, translateMessage } = StudioLanguage;
  const BUSY_MILLISECONDS = 1000;
  const QUIET_MILLISECONDS = 4000;
  const HUB = "https://huggingface.co/";
  const STATES = {
    absent: translate("not downloaded"), downloading: translate("downloading"), loading: translate("loading"), "on disk": translate("on disk"), "in memory": translate("in memory"),
  };
  const FITS = { yes: translate("Runs here"), slow: translate("Slow here"), "too large": translate("Too large for this machine") };
  const FIT_EXPLANATIONS = {
    yes: translate("It fits into the memory of this machine, and runs at its full speed."),
    slow: translate("It runs here, but slowly: it has too many weights for the fast memory or for the processor."),
    "too large": translate("It needs more memory than this machine has."),
  };
  const GUIDANCE = {
    "classifier-free": translate("yes"), true: translate("yes"), embedded: translate("yes, without negative prompt"), none: translate("none needed"),
  };
  const REFUSAL = translate("Only an administrator of this studio may download and delete. All that is on this machine can be used.");
  const UNITS = [[1e9, "GB"], [1e6, "MB"], [1e3, "kB"]];

  function formatBytes(size) {
    const [unit, name] = UNITS.find(([each]) => size >= each) ?? [1, "B"];
    return `${(size / unit).toLocaleString(locale, { maximumFractionDigits: 1 })}\u00a0${name}`;
  }
  const formatGigabytes = (gigabytes) => (gigabytes ? formatBytes(gigabytes * 1e9) : "");
  const KINDS = { lora: translate("LoRA"), embedding: translate("Embedding"), controlnet: translate("ControlNet"), ip_adapter: translate("IP-Adapter"), vae: translate("VAE"), detector: translate("Detector"), preprocessor: translate("Preprocessor"), upscaler: translate("Upscaler") };
  const getKey = (kind, id) => `${kind} ${id}`;

  // An error names the field of the request. The place where it is shown says that already.
  function describeError(message) {
    const problem = message.replace(/^(model|loras?|embeddings?|controlnet|ip_adapter|vae|detector|preprocessor|upscaler): /, "");
    const sentence = problem.replace(/^(there|is|must) /, (word) => ({ there: "There ", is: "It is ", must: "It must " })[word.trim()]);
    return code === "en" ? sentence : problem.replace(/^\p{L}/u, (letter) => letter.toLocaleUpperCase(locale));
  }

  function describeProgress({ doing, received, size }) {
    switch (doing) {
      case "downloading":
        return translate("Downloading: {received} of {size}", { received: formatBytes(received ?? 0), size: formatBytes(size ?? 0) });
      case "asking the Hub":
        return translate("Asking the Hub");
      case "stopping":
        return translate("Stopping");
      default:
        return translate("Loading into memory");
    }
  }

  // Puts the children into an element in this order, and moves only those that are elsewhere: moving takes the focus away.
  function arrange(parent, children) {
    const focused = document.activeElement;
    children.forEach((child, index) => {
      if (parent.children[index] !== child) parent.insertBefore(child, parent.children[index] ?? null);
    });
    while (parent.children.length > children.length) parent.lastElementChild.remove();
    if (parent.contains(focused) && focused !== document.activeElement) focused.focus({ preventScroll: true });
  }

  // One model or adapter. A view is what it shows, as plain data:
  // kind, id, name, about (texts), state, fit, notes (label, text, link), main and others (buttons: label, action), busy (doing, received, size,
  // canStop), problem (text, isNote), picture (address), ownPicture (query of the library), deletedSize.
  class Card {
    constructor(owner) {
      this.owner = owner;
      this.image = make("img", { alt: "", hidden: true, onerror: () => (this.image.hidden = true) });
      this.initial = make("span", { className: "resource-initial", ariaHidden: "true" });
      this.state = make("span", { className: "resource-state" });
      this.body = make("div", { className: "resource-body" });
      this.bar = make("progress", { max: 1 });
      this.progress = make("p", { className: "resource-progress" });
      const picture = make("div", { className: "resource-picture" }, this.initial, this.image, this.state);
      this.element = make("li", { className: "resource-card" }, picture, this.body);
    }

    update(view) {
      this.view = view;
      const shown = JSON.stringify({ ...view, busy: view.busy && { canStop: view.busy.canStop } });
      if (shown !== this.shown) this.rebuild(view);
      this.shown = shown;
      if (view.busy) this.showProgress(view.busy);
    }

    rebuild(view) {
      const focused = this.element.contains(document.activeElement) && document.activeElement.dataset.action;
      this.initial.textContent = view.name.match(/[\p{L}\p{N}](?=[^/]*$)/u)?.[0].toUpperCase() ?? "";
      this.state.textContent = STATES[view.state];
      this.element.dataset.state = view.state;
      this.element.dataset.id = view.id;
      if (view.picture) this.showPicture(view.picture);
      this.body.replaceChildren(
        make("h3", { textContent: view.name }),
        make("p", { className: "resource-about" }, ...view.about.filter(Boolean).map((text) => make("span", { textContent: text }))),
        ...(view.fit ? [make("p", { className: "resource-fit", dataset: { fit: view.fit }, textContent: FITS[view.fit] })] : []),
        ...view.notes.map(buildNote),
        ...(view.problem ? [this.buildProblem(view.problem)] : []),
        ...(view.busy ? [this.buildProgress(view.busy)] : [this.buildMainButtons(view)]),
        this.buildOtherButtons(view),
      );
      if (focused) this.focus(focused);
    }

    // Focuses the button of an action, or another one if there is none.
    focus(action) {
      (this.find(action) ?? this.find("stop") ?? this.body.querySelector("button"))?.focus({ preventScroll: true });
    }

    find(action) {
      return this.element.querySelector(`[data-action="${action}"]`);
    }

    buildProblem({ text, isNote }) {
      const role = isNote ? "status" : "alert";
      return make("p", { className: "resource-problem", dataset: { isNote }, attributes: { role }, textContent: text });
    }

    buildProgress({ canStop }) {
      const stop = canStop ? [this.buildButton({ label: translate("Stop"), action: "stop" })] : [];
      this.bar.ariaLabel = translate("Progress of {name}", { name: this.view.name });
      return make("div", { className: "resource-busy" }, this.progress, this.bar, ...stop);
    }

    buildMainButtons({ main, second }) {
      const buttons = [main, second].filter(Boolean).map((each) => this.buildButton(each));
      return make("div", { className: "resource-main" }, ...buttons);
    }

    buildOtherButtons({ others }) {
      return make("div", { className: "resource-others" }, ...others.map((each) => this.buildButton(each)));
    }

    buildButton({ label, action }) {
      return button(label, () => this.owner.act(action, this.view), {
        ariaLabel: `${label.replace("…", "")} ${this.view.name}`, dataset: { action },
      });
    }

    showProgress(busy) {
      this.progress.textContent = describeProgress(busy);
      if (busy.size) this.bar.value = busy.received / busy.size;
      else this.bar.removeAttribute("value");
      const stop = this.find("stop");
      // A button that is disabled would lose the focus.
      if (stop) stop.ariaDisabled = String(busy.doing === "stopping");
    }

    // Without a picture by the author, the newest one that the user has made with it is shown.
    async findPicture() {
      const { picture, ownPicture } = this.view;
      if (picture || !ownPicture) return;
      const { pictures } = await askJson(`pictures?${new URLSearchParams({ ...ownPicture, limit: 1 })}`);
      if (pictures.length) this.showPicture(`v1/pictures/${pictures[0].id}/thumbnail`);
      else this.image.hidden = true;
    }

    showPicture(address) {
      if (this.image.getAttribute("src") !== address) this.image.src = address;
      this.image.hidden = false;
    }
  }

  function buildNote({ label, text, link }) {
    const note = make("p", { className: "resource-note" }, ...(label ? [make("span", { textContent: `${label}: ` })] : []), text);
    if (link) note.append(" ", make("a", { href: link.address, target: "_blank", rel: "noopener", textContent: link.text }));
    return note;
  }

  // Asks before it deletes. The harmless answer has the focus.
  class DeleteQuestion {
    constructor(name) {
      this.title = make("h2", { id: `${name}-question` });
      this.text = make("p");
      this.dialog = make(
        "dialog",
        { className: "resource-dialog", attributes: { "aria-labelledby": this.title.id } },
        this.title,
        this.text,
        make("form", { method: "dialog", className: "resource-answers" },
          make("button", { value: "", textContent: translate("Cancel"), autofocus: true }),
          make("button", { value: "delete", textContent: translate("Delete from disk"), className: "danger" })),
      );
    }

    async ask({ name, deletedSize }) {
      this.title.textContent = translate("Delete {name}?", { name });
      const frees = deletedSize && translate("This frees {size} of the disk.", { size: deletedSize });
      const loss = translate("Nobody can use it here any more, until it is downloaded again.");
      this.text.textContent = [frees, loss].filter(Boolean).join(" ");
      this.dialog.returnValue = "";
      this.dialog.showModal();
      await new Promise((resolve) => this.dialog.addEventListener("close", resolve, { once: true }));
      return this.dialog.returnValue === "delete";
    }
  }

  // All that is known of one.
  class Details {
    constructor() {
      this.content = make("div");
      const close = button("✕", () => this.dialog.close(), { className: "resource-close", ariaLabel: translate("Close") });
      this.dialog = make("dialog", { className: "resource-dialog resource-details", ariaLabel: translate("Details") }, close, this.content);
    }

    // Returns when the dialog is closed.
    async show({ name, description, abilities, facts }) {
      const rows = facts.filter(([, text]) => text);
      this.dialog.ariaLabel = translate("Details of {name}", { name });
      this.content.replaceChildren(
        make("h2", { textContent: name }),
        ...(description ? [make("p", { textContent: description })] : []),
        ...(abilities ? [buildAbilities(abilities)] : []),
        make("dl", {}, ...rows.map(([label, text]) =>
          make("div", {}, make("dt", { textContent: label }), make("dd", { textContent: text })))),
      );
      this.dialog.showModal();
      await new Promise((resolve) => this.dialog.addEventListener("close", resolve, { once: true }));
    }
  }

  const buildAbilities = (abilities) =>
    make("ul", { className: "resource-abilities" }, ...Object.entries(abilities).map(([name, able]) =>
      make("li", { className: able ? "can" : "cannot" },
        ...(able ? [] : [make("span", { className: "screen-reader-only", textContent: `${translate("not")}: ` })]), translate(name))));

  // What both lists have in common. A subclass says what it lists, and how one of them is shown.
  class Resources extends HTMLElement {
    items = [];
    downloads = [];
    isRead = false;
    isAdministrator = false;
    cards = new Map();
    // By key: what this window downloads or loads, and what went wrong with what was asked on a card.
    loads = new Map();
    problems = new Map();
    stopped = new Set();
    #version = 0;

    connectedCallback() {
      if (this.top) return;
      this.question = new DeleteQuestion(this.localName);
      this.detailsDialog = new Details();
      this.top = this.buildTop();
      this.status = make("p", { className: "resource-status", textContent: translate("Reading the list …"), attributes: { role: "status" } });
      this.sections = make("div", { className: "resource-sections" });
      this.refused = make("details", { className: "resource-refused", hidden: true }, make("summary"), make("ul"));
      this.append(this.top, this.refused, this.status, this.sections, this.question.dialog, this.detailsDialog.dialog);
      this.pictures = new IntersectionObserver((entries) => this.findPictures(entries), { rootMargin: "300px" });
      new IntersectionObserver((entries) => this.show(entries.at(-1).isIntersecting)).observe(this);
      document.addEventListener("visibilitychange", () => this.poll());
    }

    buildTop() {
      const id = this.localName;
      this.search = make("input", {
        type: "search", id: `${id}-search`, placeholder: this.texts.searchExample, oninput: () => this.render(),
      });
      this.reference = make("input", {
        id: `${id}-reference`, placeholder: "owner/name", autocomplete: "off", spellcheck: false, autocapitalize: "off",
        attributes: { "aria-describedby": `${id}-hint ${id}-problem` },
      });
      this.problem = make("p", { id: `${id}-problem`, className: "resource-problem", attributes: { role: "alert" } });
      const label = (element, textContent) => make("label", { htmlFor: element.id, textContent });
      this.form = make(
        "form",
        { className: "resource-add", noValidate: true, hidden: true, onsubmit: (event) => this.submit(event) },
        label(this.reference, this.texts.loadLabel),
        make("div", { className: "resource-field" }, this.reference, make("button", { textContent: translate("Load") })),
        make("p", { id: `${id}-hint`, className: "resource-hint", textContent: this.texts.loadHint }),
        this.problem,
      );
      const search = make("div", { className: "resource-search", attributes: { role: "search" } }, label(this.search, translate("Search")), this.search);
      this.refusal = make("p", { className: "resource-add resource-refusal", hidden: true, textContent: REFUSAL });
      return make("div", { className: "resource-top" }, this.form, this.refusal, search);
    }

    // The tab was opened or left. What was painted meanwhile may be the picture of a card.
    show(isShown) {
      if (isShown && !this.isShown) {
        this.askedPictures = new Set();
        this.showRefusedFiles().catch(() => {});
      }
      this.isShown = isShown;
      if (!isShown) return this.problems.clear();
      for (const { element } of this.cards.values()) {
        this.pictures.unobserve(element);
        this.pictures.observe(element);
      }
      this.poll();
    }

    // Files in the models folder that are not in the list, each with the reason.
    async showRefusedFiles() {
      const files = (await askJson("refused_files")).filter(({ kind }) => this.kinds.includes(kind));
      const [summary, list] = this.refused.children;
      this.refused.hidden = !files.length;
      summary.textContent = translateCount("{count} file cannot be used", "{count} files cannot be used", files.length);
      list.replaceChildren(...files.map(({ id, problem }) =>
        make("li", {}, make("strong", { textContent: id }), `: ${translateMessage(problem)}`)));
    }

    findPictures(entries) {
      for (const { isIntersecting, target } of entries) {
        const card = this.cards.get(target.dataset.key);
        if (!isIntersecting || !card || this.askedPictures?.has(card)) continue;
        this.askedPictures?.add(card);
        card.findPicture().catch(() => {});
      }
    }

    async poll() {
      clearTimeout(this.timer);
      if (!this.isShown || document.hidden) return;
      await this.refresh();
      clearTimeout(this.timer);
      const isBusy = this.downloads.length || this.loads.size || this.items.some((item) => item.loading);
      this.timer = setTimeout(() => this.poll(), isBusy ? BUSY_MILLISECONDS : QUIET_MILLISECONDS);
    }

    // Asks the studio. What was shown stays when it does not answer.
    async refresh() {
      const version = ++this.#version;
      try {
        const [items, downloads] = await Promise.all([this.list(), askJson("downloads")]);
        if (!this.isRead) this.showAllowed((await askJson("status")).is_administrator);
        if (version !== this.#version) return;
        const before = this.downloads;
        this.items = items;
        this.downloads = downloads.filter(({ kind }) => this.kinds.includes(kind));
        this.isRead = true;
        this.render();
        this.tellEnds(before);
      } catch (error) {
        if (!this.isRead) this.status.textContent = error.message;
      }
    }

    showAllowed(isAdministrator) {
      this.isAdministrator = isAdministrator;
      this.form.hidden = !isAdministrator;
      this.refusal.hidden = isAdministrator;
    }

    // Says how downloads ended that no load of this window follows.
    tellEnds(before) {
      const running = new Set(this.downloads.map(({ kind, id }) => getKey(kind, id)));
      for (const { kind, id } of before) {
        const key = getKey(kind, id);
        if (running.has(key) || this.loads.has(key) || this.stopped.delete(key)) continue;
        const isHere = this.items.some((item) => item.key === key && item.state !== "absent");
        notify(isHere ? translate("{name} is on disk now.", { name: id }) : translate("The download of {name} ended before it was complete.", { name: id }));
      }
    }

    render() {
      const focused = this.sections.contains(document.activeElement);
      const views = this.buildViews();
      for (const view of views) {
        const key = getKey(view.kind, view.id);
        if (!this.cards.has(key)) {
          const card = new Card(this);
          card.element.dataset.key = key;
          this.cards.set(key, card);
          this.pictures.observe(card.element);
        }
        this.cards.get(key).update(view);
      }
      const words = this.search.value.toLowerCase().split(/\s+/).filter(Boolean);
      const found = views.filter(({ text }) => words.every((word) => text.includes(word)));
      const titles = this.texts.sections.filter((title) => found.some((view) => view.section === title));
      arrange(this.sections, titles.map((title) => this.fillSection(title, found.filter((view) => view.section === title))));
      // A card is gone when the download of what was typed has been stopped.
      if (focused && document.activeElement === document.body) (this.form.hidden ? this.search : this.reference).focus();
      this.status.textContent = found.length || !this.isRead ? "" : words.length ? this.texts.nothingFound : this.texts.nothingThere;
    }

    fillSection(title, views) {
      this.sectionByTitle ??= new Map();
      if (!this.sectionByTitle.has(title)) {
        const section = make("section", {}, make("h2", { textContent: title }), make("ul", { className: "resource-grid" }));
        this.sectionByTitle.set(title, section);
      }
      const section = this.sectionByTitle.get(title);
      arrange(section.lastElementChild, views.map(({ kind, id }) => this.cards.get(getKey(kind, id)).element));
      return section;
    }

    // What comes first is not in the list yet: its name was typed, here or in another window.
    buildViews() {
      const known = new Set(this.items.map(({ key }) => key));
      const coming = [...this.downloads, ...[...this.loads.values()]].filter(({ kind, id }) => !known.has(getKey(kind, id)));
      const unique = new Map(coming.map(({ kind, id }) => [getKey(kind, id), { kind, id }]));
      const views = [...unique.values()].map(({ kind, id }) => ({
        kind, id, name: id, about: [], section: this.texts.sections[0], notes: [], others: [], text: id.toLowerCase(),
      }));
      return [...views, ...this.items.map((item) => this.buildView(item))].map((view) => this.addProgress(view));
    }

    addProgress(view) {
      const key = getKey(view.kind, view.id);
      const problem = this.problems.get(key);
      const busy = this.findBusy(view, key);
      const state = !busy ? view.state : busy.doing === "loading" ? "loading" : "downloading";
      return { ...view, state, busy, problem, others: busy ? view.others.filter(({ action }) => action === "details") : view.others };
    }

    findBusy(view, key) {
      const download = this.downloads.find(({ kind, id }) => getKey(kind, id) === key);
      const load = this.loads.get(key);
      const busy = load ?? (download ? { ...download, doing: download.size ? "downloading" : "asking the Hub" } : view.busy);
      const doing = this.stopped.has(key) && (download || load) ? "stopping" : busy?.doing;
      return busy && { ...busy, doing, canStop: this.isAdministrator || doing === "loading" };
    }

    act(action, view) {
      this.problems.delete(getKey(view.kind, view.id));
      return this[action](view);
    }

    async submit(event) {
      event.preventDefault();
      const reference = this.reference.value.trim();
      this.showFieldProblem(reference ? "" : this.texts.empty);
      if (!reference) return this.reference.focus();
      try {
        const loaded = await this.loadTyped(reference);
        if (this.reference.value.trim() === reference) this.reference.value = "";
        notify(translate("{name} is ready to use.", { name: loaded }));
      } catch (error) {
        this.showFieldProblem(describeError(error.message), error.code === "stopped");
      }
    }

    showFieldProblem(text, isNote = false) {
      this.problem.textContent = text;
      this.problem.dataset.isNote = isNote;
      this.reference.ariaInvalid = String(Boolean(text) && !isNote);
    }

    // Returns the id of what was loaded. Throws what the studio answers.
    async loadTyped(reference) {
      return this.follow(this.kinds[0], reference);
    }

    async load(view) {
      try {
        const id = await this.follow(view.kind, view.id);
        notify(translate("{name} is ready to use.", { name: view.name ?? id }));
      } catch (error) {
        this.showProblem(view, error);
      }
    }

    // Downloads and loads. Returns the id, which the studio may know under another name than the one that was typed.
    async follow(kind, reference) {
      let key = getKey(kind, reference);
      let id = reference;
      const showLoad = (load) => {
        this.loads.delete(key);
        key = getKey(kind, load.id);
        this.loads.set(key, { kind, ...load });
        this.render();
      };
      this.stopped.delete(key);
      showLoad({ id: reference, doing: "asking the Hub" });
      this.poll();
      try {
        const answer = await ask(`${kind}s/load`, { method: "POST", body: { [kind]: reference, stream: true } });
        for await (const { event, data } of readEvents(answer)) {
          if (event === "error") throw Object.assign(new Error(translateMessage(data.message)), { code: data.code });
          if (event === "progress" && data.doing !== "done") showLoad(data);
          if (event === "progress") id = data.id;
        }
      } finally {
        this.loads.delete(key);
        this.stopped.delete(key);
        await this.refresh();
        this.render();
      }
      return id;
    }

    showProblem({ kind, id }, error) {
      this.problems.set(getKey(kind, id), { text: describeError(error.message), isNote: error.code === "stopped" });
      this.render();
    }

    async change(view, body) {
      try {
        await ask(`${view.kind}s/unload`, { method: "POST", body: { [view.kind]: view.id, ...body } });
        return true;
      } catch (error) {
        this.showProblem(view, error);
        return false;
      } finally {
        await this.refresh();
      }
    }

    async stop(view) {
      const key = getKey(view.kind, view.id);
      if (this.stopped.has(key)) return;
      const isFollowed = this.loads.has(key);
      const isDownload = view.busy.doing !== "loading";
      this.stopped.add(key);
      this.render();
      const isStopped = await this.change(view);
      if (!isStopped || !isDownload) this.stopped.delete(key);
      if (isStopped && !isFollowed) {
        notify(isDownload ? translate("The download was stopped. What has arrived is kept for the next time.") : translate("Loading was stopped."));
      }
      this.render();
    }

    async unload(view) {
      if (await this.change(view)) notify(translate("{name} is no longer in memory.", { name: view.name }));
    }

    async delete(view) {
      const isWanted = await this.question.ask(view);
      this.keepFocus(view, "delete");
      if (!isWanted || !(await this.change(view, { delete: true }))) return;
      notify(translate("{name} was deleted.", { name: view.name }));
      this.search.focus({ preventScroll: true });
    }

    async details(view) {
      await this.detailsDialog.show(view);
      this.keepFocus(view, "details");
    }

    // A dialog returns the focus to the button that opened it, unless the card was built again meanwhile.
    keepFocus({ kind, id }, action) {
      // What is in the closed dialog may have the focus until the browser paints the page again.
      const focused = document.activeElement;
      const isLost = focused === document.body || !focused.getClientRects().length;
      if (isLost) this.cards.get(getKey(kind, id))?.focus(action);
    }

    // A form of the page takes it. `showUse` is called then, with the reason if it does not.
    use(view) {
      this.used = view;
      this.isUsedByKey = document.activeElement.matches(":focus-visible");
      callPage(this.page, "use", this.buildReference(view));
    }

    showUse(problem) {
      if (problem && this.used) this.showProblem(this.used, new Error(translateMessage(problem)));
      // The form is on another page. Touch is left alone: a focused field opens the keyboard of the screen.
      else if (this.isUsedByKey) StudioPrompt.getPromptField().focus();
    }
  }

  class Models extends Resources {
    kinds = ["model"];
    page = "models";
    texts = {
      loadLabel: translate("Load a model"),
      loadHint: translate("A Hugging Face repository in diffusers format, or with /file.safetensors one checkpoint in it."),
      searchExample: translate("Name or family"),
      empty: translate("Type the name of a repository first, such as owner/name."),
      sections: [translate("On this machine"), translate("To download")],
      nothingFound: translate("No model fits."),
      nothingThere: translate("There is no model yet."),
    };

    async list() {
      const statuses = await askJson("models/list");
      return statuses.map((status) => ({ key: getKey("model", status.model.id), ...status }));
    }

    buildReference({ id }) {
      return id;
    }

    buildView({ model, state, abilities, deletable, received, size, loading, runs_here: fit, has_picture: hasPicture }) {
      const isHere = state === "on disk" || state === "in memory";
      const mustBeAccepted = model.gated && model.repository && !isHere && this.isAdministrator;
      const busy = state === "downloading"
        ? { doing: "downloading", received, size }
        : loading ? { doing: "loading" } : undefined;
      const diskSize = isHere ? formatBytes(size ?? 0) : formatGigabytes(model.download_gb ?? model.memory_gb);
      return {
        kind: "model",
        id: model.id,
        name: model.name,
        about: [model.architecture ?? model.family, diskSize],
        state,
        fit,
        busy,
        section: this.texts.sections[isHere || busy ? 0 : 1],
        notes: [
          ...(model.licence ? [{ label: translate("Licence"), text: model.licence }] : []),
          ...(mustBeAccepted
            ? [{ text: translate("Its terms must be accepted first:"), link: { address: HUB + model.repository, text: translate("Open its page") } }]
            : []),
        ],
        main: {
          absent: this.isAdministrator ? { label: translate("Download"), action: "load" } : undefined,
          "on disk": { label: translate("Load"), action: "load" },
          "in memory": { label: translate("Use"), action: "use" },
        }[state],
        second: state === "on disk" ? { label: translate("Use"), action: "use" } : undefined,
        others: [
          { label: translate("Details"), action: "details" },
          ...(state === "in memory" ? [{ label: translate("Unload"), action: "unload" }] : []),
          ...(isHere && deletable && this.isAdministrator ? [{ label: translate("Delete…"), action: "delete" }] : []),
        ],
        picture: hasPicture ? `v1/models/picture?${new URLSearchParams({ model: model.id })}` : undefined,
        // A picture that was made with a model and its LoRAs names the model without them.
        ownPicture: model.loras.length ? { lora: model.loras[0].lora } : { model: model.id },
        deletedSize: diskSize,
        text: [model.name, model.id, model.family, model.architecture, model.repository, STATES[state], FITS[fit]]
          .join(" ").toLowerCase(),
        abilities,
        facts: [
          [translate("State"), STATES[state]],
          [translate("This machine"), FIT_EXPLANATIONS[fit]],
          [translate("Family"), model.family],
          [translate("Architecture"), model.architecture !== model.family && model.architecture],
          [translate("Size"), translate("{width} × {height}, up to {limit}", { width: model.width, height: model.height, limit: model.can.max_side })],
          [translate("Steps"), String(model.steps)],
          [translate("Guidance"), GUIDANCE[model.can.guidance]],
          [translate("LoRAs"), model.loras.map(({ lora, weight }) => `${lora} ${weight}`).join(", ")],
          [translate("Samplers"), model.can.samplers.join(", ")],
          [translate("Memory"), formatGigabytes(model.memory_gb)],
          [isHere ? translate("On disk") : translate("Download"), diskSize],
          [translate("Stored in"), model.quantization],
          [translate("Repository"), model.repository],
          [translate("Revision"), model.revision?.slice(0, 12)],
          [translate("Licence"), model.licence],
          [translate("Access"), model.gated && translate("Its terms must be accepted on its page.")],
          [translate("Name in requests"), model.id],
        ],
      };
    }
  }

  class Adapters extends Resources {
    kinds = ["lora", "embedding", "controlnet", "ip_adapter", "vae", "detector", "preprocessor", "upscaler"];
    page = "loras";
    texts = {
      loadLabel: translate("Load a LoRA, an embedding, a ControlNet, an IP-Adapter, a VAE, a detector, a preprocessor or an upscaler"),
      loadHint: translate("A Hugging Face repository, with /file.safetensors where it holds several."),
      searchExample: translate("Name, trigger word or architecture"),
      empty: translate("Type the name of a repository first, such as owner/name."),
      sections: [translate("LoRAs"), translate("Embeddings"), translate("ControlNets"), translate("IP-Adapters"), translate("VAEs"), translate("Detectors"), translate("Preprocessors"), translate("Upscalers")],
      nothingFound: translate("No LoRA fits."),
      nothingThere: translate("There is no LoRA yet. Load one from the Hub, or put files into the folder “loras” of the models folder."),
    };

    async list() {
      const lists = await Promise.all(this.kinds.map(async (kind) => {
        const infos = await askJson(`${kind}s/list`);
        return infos.map((info) => ({ kind, key: getKey(kind, info.id), state: "on disk", trigger: [], ...info }));
      }));
      // A resampling filter has no file.
      return lists.flat().filter((info) => info.size);
    }

    buildReference({ kind, id }) {
      return getKey(kind, id);
    }

    // Only the downloaded file shows what it is. What it is not is not fetched twice.
    async loadTyped(reference) {
      let first;
      for (const kind of this.kinds) {
        try {
          return await this.follow(kind, reference);
        } catch (error) {
          first ??= error;
          if (error.code !== "unusable_model") throw first;
        }
      }
      throw first;
    }

    buildView(info) {
      return {
        kind: info.kind,
        id: info.id,
        name: info.name,
        about: [info.kind === "upscaler" ? translate("{scale} times larger", { scale: info.scale }) : info.architecture === "unknown" ? "" : translate("For {architecture}", { architecture: info.architecture }), formatBytes(info.size)],
        state: info.state,
        section: this.texts.sections[this.kinds.indexOf(info.kind)],
        notes: [
          ...(info.trigger.length ? [{ label: info.trigger.length > 1 ? translate("Trigger words") : translate("Trigger word"), text: info.trigger.join(", ") }] : []),
          ...(info.licence ? [{ label: translate("Licence"), text: info.licence }] : []),
        ],
        main: ["lora", "embedding"].includes(info.kind) ? { label: translate("Use"), action: "use" } : undefined,
        others: [
          { label: translate("Details"), action: "details" },
          ...(info.deletable && this.isAdministrator ? [{ label: translate("Delete…"), action: "delete" }] : []),
        ],
        picture: info.has_picture ? `v1/${info.kind}s/picture?${new URLSearchParams({ [info.kind]: info.id })}` : undefined,
        ownPicture: info.kind === "lora" ? { lora: info.id } : undefined,
        deletedSize: formatBytes(info.size),
        text: [info.name, info.id, info.kind, info.architecture, info.base_model, ...info.trigger].join(" ").toLowerCase(),
        description: info.description,
        facts: [
          [translate("Kind"), KINDS[info.kind]],
          [translate("Made for"), info.architecture],
          [translate("Trigger words"), info.trigger.join(", ")],
          [translate("Base model"), info.base_model],
          [translate("Size"), formatBytes(info.size)],
          [translate("Licence"), info.licence],
          [translate("Name in requests"), info.id],
        ],
      };
    }
  }

  customElements.define("studio-models", Models);
  customElements.define("studio-loras", Adapters);
})();
