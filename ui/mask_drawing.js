// A mask as a list of strokes over a picture. Undo takes the last one away, and the rest is drawn again.
class MaskDrawing {
  // `canvas` shows the mask in `colour`, in the pixels of the picture.
  constructor(canvas, colour = "#e2603a") {
    this.canvas = canvas;
    this.colour = colour;
    this.pen = canvas.getContext("2d");
    this.strokes = [];
    this.undone = [];
  }

  reset(width, height) {
    Object.assign(this.canvas, { width, height });
    this.strokes = [];
    this.undone = [];
  }

  get isEmpty() {
    const { width, height } = this.canvas;
    if (!width || !this.strokes.length) return true;
    const small = document.createElement("canvas");
    [small.width, small.height] = [Math.min(width, 256), Math.min(height, 256)];
    const pen = small.getContext("2d");
    pen.drawImage(this.canvas, 0, 0, small.width, small.height);
    return !pen.getImageData(0, 0, small.width, small.height).data.some((value, index) => index % 4 === 3 && value);
  }

  // A stroke is { tool, points, size }, in the picture's pixels; `tool` is one of the functions below.
  begin(stroke) {
    this.undone = [];
    this.strokes.push(stroke);
    this.draw(stroke);
  }

  extend(point) {
    const stroke = this.strokes.at(-1);
    stroke.points.push(point);
    if (stroke.tool === "lasso" || stroke.tool === "unlasso") this.redraw();
    else this.draw({ ...stroke, points: stroke.points.slice(-2) });
  }

  add(stroke) {
    this.begin({ points: [], ...stroke });
  }

  undo() {
    if (!this.strokes.length) return false;
    this.undone.push(this.strokes.pop());
    this.redraw();
    return true;
  }

  redo() {
    if (!this.undone.length) return false;
    this.strokes.push(this.undone.pop());
    this.redraw();
    return true;
  }

  redraw() {
    this.pen.clearRect(0, 0, this.canvas.width, this.canvas.height);
    this.strokes.forEach((stroke) => this.draw(stroke));
  }

  draw(stroke) {
    const { pen } = this;
    pen.save();
    pen.fillStyle = pen.strokeStyle = this.colour;
    pen.lineWidth = stroke.size ?? 1;
    pen.lineCap = pen.lineJoin = "round";
    this[stroke.tool](stroke);
    pen.restore();
  }

  brush({ points }) {
    const [first, ...others] = points;
    this.pen.beginPath();
    this.pen.moveTo(...first);
    // A click alone makes a dot.
    (others.length ? others : [first]).forEach((point) => this.pen.lineTo(...point));
    this.pen.stroke();
  }

  eraser(stroke) {
    this.pen.globalCompositeOperation = "destination-out";
    this.brush(stroke);
  }

  lasso({ points }) {
    this.pen.beginPath();
    points.forEach((point) => this.pen.lineTo(...point));
    this.pen.closePath();
    this.pen.fill();
  }

  unlasso(stroke) {
    this.pen.globalCompositeOperation = "destination-out";
    this.lasso(stroke);
  }

  invert() {
    this.pen.globalCompositeOperation = "xor";
    this.pen.fillRect(0, 0, this.canvas.width, this.canvas.height);
  }

  clear() {
    this.pen.clearRect(0, 0, this.canvas.width, this.canvas.height);
  }

  // `picture` is a canvas of white where the mask is.
  stored({ picture }) {
    this.pen.drawImage(picture, 0, 0, this.canvas.width, this.canvas.height);
    this.pen.globalCompositeOperation = "source-in";
    this.pen.fillRect(0, 0, this.canvas.width, this.canvas.height);
  }

  // Reads a stored mask: white is masked.
  addStored(image) {
    const picture = document.createElement("canvas");
    [picture.width, picture.height] = [image.naturalWidth, image.naturalHeight];
    const pen = picture.getContext("2d");
    pen.drawImage(image, 0, 0);
    const pixels = pen.getImageData(0, 0, picture.width, picture.height);
    for (let place = 0; place < pixels.data.length; place += 4) pixels.data[place + 3] = pixels.data[place];
    pen.putImageData(pixels, 0, 0);
    this.add({ tool: "stored", picture });
  }

  // Returns the mask as a PNG file: white is masked, the rest is black.
  async toFile() {
    const { width, height } = this.canvas;
    const file = Object.assign(document.createElement("canvas"), { width, height });
    const pen = file.getContext("2d");
    pen.fillStyle = "white";
    pen.drawImage(this.canvas, 0, 0);
    pen.globalCompositeOperation = "source-in";
    pen.fillRect(0, 0, width, height);
    pen.globalCompositeOperation = "destination-over";
    pen.fillStyle = "black";
    pen.fillRect(0, 0, width, height);
    return new Promise((resolve) => file.toBlob(resolve, "image/png"));
  }
}
