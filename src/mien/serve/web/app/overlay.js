// Faces over an image, video or camera: boxes in percent, so that they scale with it; panels in
// screen pixels, so that they stay readable on a phone.

import { el } from "./dom.js";
import { hue, named, titled } from "./names.js";
import { placeAll } from "./place.js";

export class Overlay {
  /** @param {HTMLElement} holder contains the media; @param {boolean} mirrored horizontally. */
  constructor(holder, mirrored = false) {
    Object.assign(this, { holder, mirrored, marks: new Map(), last: null });
    this.node = el("div", { class: "overlay", "aria-hidden": "true" });
    holder.append(this.node);
    this.watcher = new ResizeObserver(() => this.last && this.show(...this.last));
    this.watcher.observe(holder);
  }

  /** Show the faces of one frame; boxes are in pixels of a width x height image. */
  show(faces, width, height, threshold) {
    this.last = [faces, width, height, threshold];
    const seen = new Set();
    const boxes = faces.map((face, i) => {
      const key = face.track ?? i;
      seen.add(key);
      const [x0, y0, x1, y1] = face.box;
      const [left, right] = this.mirrored ? [width - x1, width - x0] : [x0, x1];
      this.mark(key, face, threshold, [left / width, y0 / height, right / width, y1 / height]);
      return [left / width, y0 / height, right / width, y1 / height];
    });
    for (const [key, mark] of this.marks) {
      if (seen.has(key)) continue;
      mark.box.remove();
      mark.panel.remove();
      this.marks.delete(key);
    }
    this.arrange(faces, boxes);
  }

  clear() {
    this.show([], 1, 1, 0);
  }

  /** Highlight one face, or none (null). */
  highlight(key) {
    for (const [other, { box }] of this.marks) box.classList.toggle("strong", other === key);
  }

  remove() {
    this.watcher.disconnect();
    this.node.remove();
  }

  mark(key, face, threshold, [x0, y0, x1, y1]) {
    const mark = this.marks.get(key) ?? this.make(key);
    const name = named(face, threshold);
    mark.title.textContent = titled(name, face.track);
    for (const node of [mark.box, mark.panel]) node.style.setProperty("--hue", hue(name.label));
    mark.box.classList.toggle("unsure", name.unsure);
    Object.assign(mark.box.style, {
      left: `${100 * x0}%`, top: `${100 * y0}%`,
      width: `${100 * (x1 - x0)}%`, height: `${100 * (y1 - y0)}%`,
    });
    this.bars(mark, face.probabilities);
  }

  make(key) {
    const title = el("span");
    const rows = el("div", { class: "rows" });
    const mark = {
      box: el("div", { class: "box" }), title, rows, bars: new Map(),
      panel: el("div", { class: "panel" }, el("div", { class: "title" }, title), rows),
    };
    this.node.append(mark.box, mark.panel);
    this.marks.set(key, mark);
    return mark;
  }

  bars(mark, probabilities) {
    mark.rows.hidden = !probabilities;
    for (const [label, fraction] of Object.entries(probabilities ?? {})) {
      if (!mark.bars.has(label)) {
        const bar = el("i");
        bar.style.setProperty("--hue", hue(label));
        mark.bars.set(label, bar);
        mark.rows.append(el("div", { class: "row" }, el("span", {}, label), el("span", { class: "rail" }, bar)));
      }
      mark.bars.get(label).style.width = `${100 * fraction}%`;
    }
  }

  arrange(faces, boxes) {
    const { clientWidth: width, clientHeight: height } = this.holder;
    if (!width || !height) return;
    const marks = faces.map((face, i) => this.marks.get(face.track ?? i));
    const pixels = boxes.map(([x0, y0, x1, y1]) => [x0 * width, y0 * height, x1 * width, y1 * height]);
    const spots = placeAll(pixels, [width, height], 8, (i, short) => {
      marks[i].panel.classList.toggle("short", short);
      return [marks[i].panel.offsetWidth, marks[i].panel.offsetHeight];
    });
    spots.forEach(({ left, top }, i) => {
      marks[i].panel.style.transform = `translate(${Math.round(left)}px, ${Math.round(top)}px)`;
    });
  }
}
