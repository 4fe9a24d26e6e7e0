// One picture in the whole window, with all that made it: zoomed, compared with its start image, marked, downloaded. Arrow
// keys go to the next one.
const StudioViewer = (() => {
  const { ask, askJson, button, callPage, make } = StudioElements;
  const { locale, translate } = StudioLanguage;
  const ZOOM_STEP = 1.25;
  // Pixels of the screen for one of the picture.
  const MOST_ZOOM = 16;
  // Pixels that the mouse may move in a click.
  const CLICK_PIXELS = 4;
  const FACTS = {
    seed: translate("Seed"), variation_seed: translate("Variation seed"), variation_strength: translate("Variation strength"), size: translate("Size"), steps: translate("Steps"), guidance_scale: translate("Guidance"), sampler: translate("Sampler"), strength: translate("Strength"),
    model_id: translate("Model"), loras: translate("LoRAs"), negative_prompt: translate("Negative prompt"), written: translate("Written as"),
  };

  const change = (id, body) => askJson(`pictures/${id}`, { method: "PATCH", body });

  function saveFile(blob, name) {
    const link = make("a", { href: URL.createObjectURL(blob), download: name });
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
  }

  const getPrompt = (picture) => picture.receipt?.prompt || translate("A picture without a prompt");

  // `list` has the pictures: `pictures`, `loadMore()`, `replace(picture)` after a change, `delete(ids)`, `report(promise)`
  // which shows errors, `leave(picture)` when the viewer closes, and `tools` that a picture can be sent to, if there are any.
  class Viewer {
    // Pixels of the page for one of the picture; null fits it into the window.
    scale = null;

    constructor(list) {
      this.list = list;
      this.image = make("img", { draggable: false });
      this.before = make("img", { className: "viewer-before", alt: translate("The start image") });
      this.slider = make("input", {
        type: "range", min: 0, max: 100, value: 50, ariaLabel: translate("Compare with the start image"),
        oninput: () => this.stage.style.setProperty("--split", `${this.slider.value}%`),
      });
      this.stage = make("div", { className: "viewer-stage" }, this.image, this.before);
      this.followPointer();
      // A picture that fits does so in a window of another size, and the next picture too.
      new ResizeObserver(() => this.showScale()).observe(this.stage);
      this.image.addEventListener("load", () => this.showScale());
      const zoom = make("div", { className: "viewer-zoom", attributes: { role: "group", "aria-label": translate("Zoom") } },
        button("−", () => this.zoomBy(1 / ZOOM_STEP), { ariaLabel: translate("Zoom out"), title: "-" }),
        button(translate("Fit"), () => this.setScale(null), { title: "0" }),
        button("1:1", () => this.setScale(this.actualScale), { title: "1" }),
        button("+", () => this.zoomBy(ZOOM_STEP), { ariaLabel: translate("Zoom in"), title: "+" }));
      this.facts = make("div", { className: "viewer-facts" });
      this.star = button(translate("☆ Favourite"), () => this.list.report(this.toggleFavourite()));
      const call = (action) => () => {
        this.dialog.close();
        callPage("library", action, this.picture.id);
      };
      const save = (format) => () => this.list.report(this.save(format));
      this.actions = make(
        "div",
        { className: "viewer-actions" },
        this.star,
        ...(list.tools ? [button(translate("Use settings"), call("use-settings")), button(translate("Use seed"), call("use-seed"))] : []),
        ...(list.tools ?? []).map(({ name, action }) => button(translate(action), call(`send-${name}`))),
        button("PNG", save("png"), { ariaLabel: translate("Download as PNG") }),
        button("WebP", save("webp"), { ariaLabel: translate("Download as WebP") }),
        button("JPEG", save("jpeg"), { ariaLabel: translate("Download as JPEG") }),
        button(translate("Delete"), () => this.list.report(this.delete())),
      );
      const move = (step) => () => this.move(step);
      this.dialog = make(
        "dialog",
        { className: "viewer", ariaLabel: translate("Picture"), tabIndex: -1, onkeydown: (event) => this.onKey(event), onclose: () => this.leave() },
        make("div", { className: "viewer-frame" }, this.stage, make("div", { className: "viewer-bar" }, zoom, this.slider),
          button("‹", move(-1), { className: "viewer-previous", ariaLabel: translate("Newer picture") }),
          button("›", move(1), { className: "viewer-next", ariaLabel: translate("Older picture") })),
        make("aside", {},
          button("✕", () => this.dialog.close(), { className: "viewer-close", ariaLabel: translate("Close") }), this.facts, this.actions),
      );
    }

    // The list changes while a picture is open. One that is gone from it stays open.
    get index() {
      return this.list.pictures.findIndex((picture) => picture.id === this.picture.id);
    }

    open(id) {
      this.picture = this.list.pictures.find((picture) => picture.id === id);
      this.show();
      if (this.dialog.open) return;
      this.dialog.showModal();
      this.dialog.focus();
    }

    leave() {
      this.list.leave(this.picture);
    }

    show() {
      const { id, receipt, favourite, created, albums } = this.picture;
      const address = `v1/images/${id}`;
      if (this.image.getAttribute("src") !== address) {
        this.setScale(null);
        this.image.src = address;
      }
      this.image.alt = getPrompt(this.picture);
      const start = receipt?.init_image ?? receipt?.image;
      this.before.hidden = this.slider.hidden = !start;
      if (start) this.before.src = `v1/inputs/${start}`;
      this.star.textContent = favourite ? translate("★ Favourite") : translate("☆ Favourite");
      this.star.ariaPressed = String(favourite);
      const values = receipt && {
        ...receipt,
        size: `${receipt.final_width ?? receipt.width} × ${receipt.final_height ?? receipt.height}`,
        variation_strength: receipt.variation_strength || null,
        written: receipt.requested?.prompt,
        loras: receipt.loras.map(({ lora, weight }) => `${lora} ${weight}`).join(", "),
      };
      const rows = Object.entries(FACTS).filter(([name]) => values?.[name] || values?.[name] === 0);
      const fact = (label, text) => make("div", {}, make("dt", { textContent: label }), make("dd", { textContent: text }));
      this.facts.replaceChildren(
        make("p", { className: "viewer-prompt", textContent: getPrompt(this.picture) }),
        make("dl", {},
          ...rows.map(([name, label]) => fact(label, values[name])),
          ...(albums.length ? [fact(translate("Albums"), albums.join(", "))] : []),
          fact(translate("Made"), new Date(created * 1000).toLocaleString(locale))),
        make("details", {}, make("summary", { textContent: translate("Receipt") }),
          make("pre", { textContent: JSON.stringify(receipt, null, 2) })),
      );
    }

    // One pixel of the picture on one of the screen.
    get actualScale() {
      return 1 / devicePixelRatio;
    }

    get fittingScale() {
      const { naturalWidth, naturalHeight } = this.image;
      return Math.min(this.stage.clientWidth / naturalWidth, this.stage.clientHeight / naturalHeight) || 1;
    }

    toggleZoom(at) {
      this.setScale(this.scale === null ? this.actualScale : null, at);
    }

    zoomBy(factor, at) {
      const [fitting, actual] = [this.fittingScale, this.actualScale];
      const scale = Math.min(Math.max((this.scale ?? fitting) * factor, Math.min(fitting, actual)), MOST_ZOOM * actual);
      this.setScale(Math.abs(scale / fitting - 1) < 0.01 ? null : scale, at);
    }

    // `at` is a point of the window; what is there stays there.
    setScale(scale, at) {
      const { stage, image } = this;
      const findMiddle = ({ left, right, top, bottom }) => [(left + right) / 2, (top + bottom) / 2];
      const [x, y] = at ?? findMiddle(stage.getBoundingClientRect());
      const before = this.scale ?? this.fittingScale;
      const [middleX, middleY] = findMiddle(image.getBoundingClientRect());
      this.scale = scale;
      this.showScale();
      if (scale === null) return;
      const [newX, newY] = findMiddle(image.getBoundingClientRect());
      stage.scrollBy(newX + ((x - middleX) * scale) / before - x, newY + ((y - middleY) * scale) / before - y);
    }

    showScale() {
      const { stage, image } = this;
      stage.classList.toggle("zoomed", this.scale !== null);
      const scale = this.scale ?? this.fittingScale;
      stage.style.setProperty("--width", `${image.naturalWidth * scale}px`);
      stage.style.setProperty("--height", `${image.naturalHeight * scale}px`);
    }

    // The wheel zooms, the mouse drags a picture that is larger than the window, and a click shows it as large as it is.
    followPointer() {
      let dragged = null;
      const { stage } = this;
      stage.addEventListener("wheel", (event) => {
        event.preventDefault();
        this.zoomBy(event.deltaY < 0 ? ZOOM_STEP : 1 / ZOOM_STEP, [event.clientX, event.clientY]);
      }, { passive: false });
      stage.addEventListener("pointerdown", ({ clientX, clientY, button: pressed, pointerType }) => {
        dragged = pressed === 0 && pointerType === "mouse" ? { x: clientX, y: clientY, distance: 0 } : null;
      });
      stage.addEventListener("pointermove", ({ clientX, clientY, buttons }) => {
        if (!dragged || !buttons) return;
        stage.scrollBy(dragged.x - clientX, dragged.y - clientY);
        dragged = { x: clientX, y: clientY, distance: dragged.distance + Math.hypot(dragged.x - clientX, dragged.y - clientY) };
      });
      stage.addEventListener("click", ({ clientX, clientY }) => {
        if (!(dragged?.distance > CLICK_PIXELS)) this.toggleZoom([clientX, clientY]);
      });
    }

    async move(step) {
      if (this.index + step >= this.list.pictures.length) await this.list.loadMore();
      const next = this.list.pictures[this.index + step];
      if (next) this.open(next.id);
    }

    onKey(event) {
      if (event.target === this.slider || event.ctrlKey || event.metaKey || event.altKey) return;
      const actions = {
        ArrowLeft: () => this.move(-1),
        ArrowRight: () => this.move(1),
        Delete: () => this.list.report(this.delete()),
        f: () => this.list.report(this.toggleFavourite()),
        z: () => this.toggleZoom(),
        "+": () => this.zoomBy(ZOOM_STEP),
        "-": () => this.zoomBy(1 / ZOOM_STEP),
        0: () => this.setScale(null),
        1: () => this.setScale(this.actualScale),
      };
      const action = actions[event.key];
      if (!action) return;
      event.preventDefault();
      action();
    }

    async toggleFavourite() {
      this.picture = await change(this.picture.id, { favourite: !this.picture.favourite });
      this.list.replace(this.picture);
      this.show();
    }

    async save(format) {
      const answer = await ask(`images/${this.picture.id}?format=${format}`);
      const name = answer.headers.get("Content-Disposition")?.match(/filename\*=UTF-8''(.+)$/)?.[1];
      saveFile(await answer.blob(), name ? decodeURIComponent(name) : `${this.picture.id}.${format}`);
    }

    async delete() {
      const { index } = this;
      await this.list.delete([this.picture.id]);
      const next = this.list.pictures[Math.min(Math.max(index, 0), this.list.pictures.length - 1)];
      if (!next) return this.dialog.close();
      this.open(next.id);
    }
  }

  return { Viewer, change, getPrompt, saveFile };
})();
