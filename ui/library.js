// The library: pictures by day, found by words and filters, looked at, marked, downloaded and deleted. It uses the REST
// API of the studio, with the session of the page.
(() => {
  const { ask, askJson, button, make, notify } = StudioElements;
  const { locale, translate, translateCount } = StudioLanguage;
  const { Viewer, change, getPrompt, saveFile } = StudioViewer;
  const PAGE_SIZE = 60;
  const CHECK_MILLISECONDS = 5000;
  const LONG_PRESS_MILLISECONDS = 500;
  function describeDay(seconds) {
    const day = new Date(seconds * 1000);
    const days = Math.round((new Date().setHours(0, 0, 0, 0) - new Date(day).setHours(0, 0, 0, 0)) / 86_400_000);
    if (days === 0) return translate("Today");
    if (days === 1) return translate("Yesterday");
    return day.toLocaleDateString(locale, { weekday: "long", day: "numeric", month: "long", year: "numeric" });
  }

  function describeBytes(bytes) {
    const [unit, name] = [[1e9, "GB"], [1e6, "MB"]].find(([size]) => bytes >= size) ?? [1e3, "kB"];
    return `${(bytes / unit).toLocaleString(locale, { maximumFractionDigits: 1 })} ${name}`;
  }

  // "214 pictures, 1.2 GB of 10 GB · kept for 30 days; favourites stay"
  function describeUsage({ pictures, size_bytes, limit_bytes, keep_days, expiring }) {
    if (!pictures && limit_bytes === null) return "";
    const size = describeBytes(size_bytes);
    const shown = limit_bytes === null ? size : translate("{size} of {limit}", { size, limit: describeBytes(limit_bytes) });
    const days = expiring ? ` · ${translateCount("kept for {count} day; favourites stay", "kept for {count} days; favourites stay", keep_days)}` : "";
    return `${translateCount("{count} picture", "{count} pictures", pictures)}, ${shown}${days}`;
  }

  class Library extends HTMLElement {
    pictures = [];
    selected = new Set();
    next = null;
    #version = 0;
    #isLoading = false;

    // The tools that a picture can be sent to.
    get tools() {
      return JSON.parse(this.dataset.tools);
    }

    connectedCallback() {
      if (this.bar) return;
      this.bar = this.buildBar();
      this.selection = this.buildSelectionBar();
      this.list = make("div", { className: "library-days" });
      this.end = make("p", { className: "library-end", attributes: { role: "status" } });
      this.viewer = new Viewer(this);
      this.replaceChildren(this.bar, this.selection, this.list, this.end, this.viewer.dialog);
      new IntersectionObserver((entries) => entries.some((entry) => entry.isIntersecting) && this.loadMore(), {
        rootMargin: "800px",
      }).observe(this.end);
      // When the tab is selected, and when one has scrolled up again.
      new IntersectionObserver(([entry]) => {
        this.isBarVisible = entry.isIntersecting;
        if (this.isBarVisible) this.refresh();
      }).observe(this.bar);
      document.addEventListener("visibilitychange", () => this.canRefresh && this.refresh());
      document.addEventListener("keydown", undoByKey);
      this.list.addEventListener("keydown", (event) => this.onKey(event));
      this.check();
    }

    get canRefresh() {
      return this.isBarVisible && !document.hidden;
    }

    // Other tabs and programs make and delete pictures too.
    async check() {
      setTimeout(() => this.check(), CHECK_MILLISECONDS);
      if (!this.canRefresh) return;
      const before = this.usage;
      try {
        await this.showUsage();
      } catch {
        return; // page.js says when the studio does not answer.
      }
      if (before && (before.pictures !== this.usage.pictures || before.size_bytes !== this.usage.size_bytes)) {
        await this.refresh();
      }
    }

    async showUsage() {
      this.usage = await askJson("pictures/usage");
      this.use.textContent = describeUsage(this.usage);
    }

    buildBar() {
      let timer;
      this.search = make("input", {
        type: "search",
        placeholder: translate("Words of the prompt"),
        ariaLabel: translate("Search"),
        oninput: () => {
          clearTimeout(timer);
          timer = setTimeout(() => this.reload(), 250);
        },
      });
      const reload = () => this.reload();
      const select = (label, first) =>
        make("select", { ariaLabel: label, onchange: reload }, make("option", { value: "", textContent: first }));
      this.tool = select(translate("Tool"), translate("All tools"));
      this.tool.append(...this.querySelectorAll("option"));
      this.tool.value = "";
      this.model = select(translate("Model"), translate("All models"));
      this.lora = select(translate("LoRA"), translate("All LoRAs"));
      this.album = select(translate("Album"), translate("All albums"));
      const date = () => make("input", { type: "date", onchange: reload });
      const [since, until] = [(this.since = date()), (this.until = date())];
      const days = [make("label", {}, translate("From"), since), make("label", {}, translate("To"), until)];
      this.favourites = button(translate("★ Favourites"), () => {
        this.favourites.ariaPressed = String(this.favourites.ariaPressed !== "true");
        this.reload();
      });
      this.favourites.ariaPressed = "false";
      this.use = make("p", { className: "library-use" });
      const period = make("div", { className: "library-period" }, ...days);
      const controls = [this.tool, this.model, this.lora, this.album, period, this.favourites, this.use];
      return make("div", { className: "library-bar", attributes: { role: "search" } }, this.search, ...controls);
    }

    buildSelectionBar() {
      this.count = make("span", { attributes: { role: "status" } });
      this.albumName = make("input", {
        placeholder: translate("Album"),
        ariaLabel: translate("Name of an album"),
        maxLength: 100,
        onkeydown: (event) => {
          if (event.key === "Enter") this.report(this.addToAlbum());
        },
      });
      return make(
        "div",
        { className: "library-selection", hidden: true },
        this.count,
        button(translate("Download as zip"), () => this.report(this.download())),
        button(translate("★ Favourite"), () => this.report(this.markSelected({ favourite: true }))),
        this.albumName,
        button(translate("Add to album"), () => this.report(this.addToAlbum())),
        button(translate("Delete"), () => this.report(this.delete([...this.selected]))),
        button(translate("Clear selection"), () => this.select([])),
      );
    }

    buildQuery() {
      const dayAfter = (text) => new Date(new Date(`${text}T00:00`).setHours(24)).toISOString();
      const values = {
        search: this.search.value.trim(),
        tool: this.tool.value,
        model: this.model.value,
        lora: this.lora.value,
        album: this.album.value,
        favourite: this.favourites.ariaPressed === "true" ? "true" : "",
        since: this.since.value && new Date(`${this.since.value}T00:00`).toISOString(),
        until: this.until.value && dayAfter(this.until.value),
      };
      return new URLSearchParams(Object.entries(values).filter(([, value]) => value));
    }

    // Shows the first page of what the filters let pass. What is there stays until the answer has come.
    async reload() {
      await this.load((page) => {
        this.pictures = page.pictures;
        this.next = page.next;
      });
    }

    // Shows what has changed since, and keeps the pages that were loaded after the first.
    async refresh() {
      await this.load((page) => {
        const last = this.pictures.findIndex(({ id }) => id === page.pictures.at(-1)?.id);
        const isSame = page.next !== null && last >= 0;
        this.pictures = isSame ? [...page.pictures, ...this.pictures.slice(last + 1)] : page.pictures;
        if (!isSame) this.next = page.next;
      });
    }

    async load(take) {
      const version = ++this.#version;
      await this.report(
        (async () => {
          const query = this.buildQuery();
          query.set("limit", Math.max(PAGE_SIZE, Math.min(this.pictures.length, 200)));
          const [page, { albums }] = await Promise.all([askJson(`pictures?${query}`), askJson("albums"), this.showUsage()]);
          if (version !== this.#version) return;
          const before = this.describe();
          take(page);
          this.fillChoices(this.album, albums.map((album) => [album.name, `${album.name} (${album.count})`]), true);
          if (!this.list.firstChild || this.describe() !== before) this.render();
        })(),
      );
    }

    // What is shown: the pictures, below their days.
    describe() {
      return JSON.stringify(this.pictures.map((picture) => [describeDay(picture.created), picture]));
    }

    async loadMore() {
      if (!this.next || this.#isLoading) return;
      this.#isLoading = true;
      const version = this.#version;
      await this.report(
        (async () => {
          const query = this.buildQuery();
          query.set("limit", PAGE_SIZE);
          query.set("after", this.next);
          const page = await askJson(`pictures?${query}`);
          if (version !== this.#version) return;
          this.pictures.push(...page.pictures);
          this.next = page.next;
          this.render(page.pictures);
        })(),
      );
      this.#isLoading = false;
      if (this.end.getBoundingClientRect().top < innerHeight + 800) this.loadMore();
    }

    fillChoices(select, choices, replace = false) {
      const known = new Map([...select.options].slice(1).map((option) => [option.value, option]));
      if (replace) for (const [value, option] of known) if (!choices.some(([each]) => each === value)) option.remove();
      for (const [value, text] of choices) {
        const option = known.get(value) ?? select.appendChild(make("option", { value }));
        option.textContent = text;
        known.set(value, option);
      }
    }

    // Shows all pictures, or adds some at the end.
    render(added) {
      const focused = this.list.contains(document.activeElement) && document.activeElement;
      const focusedId = focused && focused.closest(".tile")?.dataset.id;
      if (!added) this.list.replaceChildren();
      for (const picture of added ?? this.pictures) {
        const day = describeDay(picture.created);
        let section = this.list.lastElementChild;
        if (section?.dataset.day !== day) {
          section = make("section", { dataset: { day } }, make("h2", { textContent: day }), make("ul"));
          this.list.append(section);
        }
        section.querySelector("ul").append(this.buildTile(picture));
        if (picture.receipt) {
          if (picture.receipt.model_id) this.fillChoices(this.model, [[picture.receipt.model_id, picture.receipt.model_id]]);
          this.fillChoices(this.lora, picture.receipt.loras.map(({ lora }) => [lora, lora]));
        }
      }
      const isFiltered = this.buildQuery().size > 0;
      this.end.textContent = this.pictures.length
        ? ""
        : isFiltered ? translate("No picture fits.") : translate("Your pictures will be here, with all that made them.");
      this.select([...this.selected].filter((id) => this.pictures.some((picture) => picture.id === id)));
      if (focusedId && !added) this.getTile(focusedId)?.querySelector(focused.localName).focus({ preventScroll: true });
    }

    buildTile(picture) {
      const image = make("img", { src: `v1/pictures/${picture.id}/thumbnail`, alt: getPrompt(picture), loading: "lazy", draggable: false });
      const open = button("", (event) => {
        if (this.wasLongPress) {
          this.wasLongPress = false;
          return;
        }
        if (event.shiftKey) return this.selectUpTo(picture.id);
        if (this.selected.size) return this.toggle(picture.id);
        this.viewer.open(picture.id);
      }, { className: "tile-open", title: getPrompt(picture) });
      open.append(image);
      const box = make("input", {
        type: "checkbox",
        ariaLabel: `${translate("Select")}: ${getPrompt(picture)}`,
        checked: this.selected.has(picture.id),
        onclick: (event) => (event.shiftKey ? this.selectUpTo(picture.id) : this.toggle(picture.id)),
      });
      const star = make("span", { className: "tile-star", textContent: "★", title: translate("Favourite") });
      const tile = make("li", { className: "tile", dataset: { id: picture.id, favourite: picture.favourite } }, open, box, star);
      this.selectByLongPress(open, picture.id);
      return tile;
    }

    // A finger that stays on a picture selects it; one that moves on scrolls.
    selectByLongPress(open, id) {
      let timer;
      const stop = () => clearTimeout(timer);
      open.addEventListener("pointerdown", (event) => {
        this.wasLongPress = false;
        if (event.pointerType !== "touch") return;
        timer = setTimeout(() => {
          this.wasLongPress = true; // A click may follow, which is not meant.
          this.toggle(id);
        }, LONG_PRESS_MILLISECONDS);
      });
      for (const name of ["pointerup", "pointercancel", "pointerleave"]) open.addEventListener(name, stop);
      open.addEventListener("contextmenu", (event) => event.pointerType === "touch" && event.preventDefault());
    }

    // Arrows go from picture to picture, with Shift they select; Delete deletes what is selected.
    onKey(event) {
      this.wasLongPress = false;
      const tile = event.target.closest(".tile");
      if (!tile || event.ctrlKey || event.metaKey || event.altKey) return;
      const { id } = tile.dataset;
      const index = this.pictures.findIndex((picture) => picture.id === id);
      const steps = { ArrowLeft: -1, ArrowRight: 1, Home: -index, End: this.pictures.length - 1 - index };
      if (event.key in steps) this.moveFocus(index + steps[event.key], event.shiftKey && id);
      else if (event.key === "ArrowUp" || event.key === "ArrowDown") {
        this.moveFocus(this.findBelow(tile, event.key === "ArrowDown"), event.shiftKey && id);
      } else if (event.key === "Delete") this.report(this.delete(this.selected.size ? [...this.selected] : [id]));
      else if (event.key === "Escape" && this.selected.size) this.select([]);
      else return;
      event.preventDefault();
    }

    // `from` is the picture where a selection with Shift begins.
    moveFocus(index, from) {
      const picture = this.pictures[index];
      if (!picture) return;
      if (from) {
        if (!this.selected.size) this.lastToggled = from;
        this.selectUpTo(picture.id);
      }
      this.getTile(picture.id).querySelector("button").focus();
    }

    // The index of the nearest picture in the row below, or above.
    findBelow(tile, isBelow) {
      const place = tile.getBoundingClientRect();
      const tiles = [...this.list.querySelectorAll(".tile")].map((each) => [each, each.getBoundingClientRect()]);
      const rows = tiles.filter(([, { top }]) => (isBelow ? top > place.top + 1 : top < place.top - 1));
      const [first] = isBelow ? rows : rows.slice(-1);
      if (!first) return -1;
      const row = rows.filter(([, { top }]) => Math.abs(top - first[1].top) < 1);
      row.sort(([, a], [, b]) => Math.abs(a.left - place.left) - Math.abs(b.left - place.left));
      return this.pictures.findIndex((picture) => picture.id === row[0][0].dataset.id);
    }

    // The viewer was closed.
    leave({ id }) {
      (this.getTile(id)?.querySelector("button") ?? this.search).focus();
    }

    getTile(id) {
      return this.list.querySelector(`[data-id="${id}"]`);
    }

    toggle(id) {
      this.lastToggled = id;
      this.select(this.selected.has(id) ? [...this.selected].filter((each) => each !== id) : [...this.selected, id]);
    }

    selectUpTo(id) {
      const index = (each) => this.pictures.findIndex((picture) => picture.id === each);
      const [first, last] = [index(this.lastToggled ?? id), index(id)].sort((a, b) => a - b);
      const range = this.pictures.slice(Math.max(first, 0), last + 1).map((picture) => picture.id);
      this.select([...this.selected, ...range]);
    }

    select(ids) {
      this.selected = new Set(ids);
      const isLeft = !this.selected.size && this.selection.contains(document.activeElement);
      this.selection.hidden = !this.selected.size;
      if (isLeft) (this.getTile(this.lastToggled)?.querySelector("button") ?? this.search).focus({ preventScroll: true });
      this.count.textContent = translateCount("{count} selected", "{count} selected", this.selected.size);
      for (const tile of this.list.querySelectorAll(".tile")) {
        tile.querySelector("input").checked = this.selected.has(tile.dataset.id);
        tile.classList.toggle("selected", this.selected.has(tile.dataset.id));
      }
    }

    replace(picture) {
      const index = this.pictures.findIndex((each) => each.id === picture.id);
      if (index < 0) return;
      this.pictures[index] = picture;
      this.getTile(picture.id).dataset.favourite = picture.favourite;
    }

    async markSelected(body) {
      for (const id of this.selected) this.replace(await change(id, body));
      this.select([]);
    }

    async addToAlbum() {
      const album = this.albumName.value.trim();
      if (!album) return this.albumName.focus();
      for (const id of this.selected) {
        const { albums } = this.pictures.find((picture) => picture.id === id);
        this.replace(await change(id, { albums: [...new Set([...albums, album])] }));
      }
      this.albumName.value = "";
      this.select([]);
      await this.reload();
    }

    async download() {
      const answer = await ask("pictures/zip", { method: "POST", body: { ids: [...this.selected] } });
      saveFile(await answer.blob(), "pictures.zip");
    }

    async delete(ids) {
      const hadFocus = this.list.contains(document.activeElement) || this.selection.contains(document.activeElement);
      const index = this.pictures.findIndex((picture) => ids.includes(picture.id));
      for (const id of ids) await ask(`pictures/${id}`, { method: "DELETE" });
      document.dispatchEvent(new Event("studio-pictures-changed"));
      this.pictures = this.pictures.filter((picture) => !ids.includes(picture.id));
      this.render();
      await this.refresh();
      const next = this.pictures[Math.min(index, this.pictures.length - 1)];
      if (hadFocus) (this.getTile(next?.id)?.querySelector("button") ?? this.search).focus({ preventScroll: true });
      const done = translateCount("{count} picture was deleted.", "{count} pictures were deleted.", ids.length);
      notify(done, translate("Undo"), async () => {
        for (const id of ids) await change(id, { deleted: false });
        document.dispatchEvent(new Event("studio-pictures-changed"));
        await this.reload();
      });
    }

    async report(promise) {
      try {
        await promise;
      } catch (error) {
        notify(error.message);
      }
    }
  }

  // Ctrl+Z, or Cmd+Z, undoes what the line offers to undo; in a text field it is the browser's.
  function undoByKey(event) {
    const undo = document.querySelector(".toast-line button");
    if (!undo || event.key !== "z" || !(event.ctrlKey || event.metaKey) || event.shiftKey) return;
    if (event.target.matches?.("textarea, input:not([type=checkbox], [type=range])")) return;
    event.preventDefault();
    undo.click();
  }

  customElements.define("studio-library", Library);
})();
