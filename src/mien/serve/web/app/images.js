// Image session: images are processed two at a time, shown one at a time, with thumbnails below.

import { faceCard } from "./cards.js";
import { $, el, say } from "./dom.js";
import { annotated, imagesCsv, imagesJson } from "./download.js";
import { count, list, named, spoken, UNSURE } from "./names.js";
import { Overlay } from "./overlay.js";
import * as stage from "./stage.js";

const CONCURRENCY = 2;

export class Images {
  /** @param {object} choices current reader, model and threshold. */
  constructor(choices) {
    Object.assign(this, { choices, items: [], index: 0, stopped: new AbortController() });
  }

  /** Add image files, show the first of them, process all. */
  add(files) {
    const first = this.items.length;
    for (const file of files) {
      this.items.push({ name: file.name || "pasted picture", file, url: URL.createObjectURL(file), state: "waiting" });
    }
    this.show(first);
    return this.readAll();
  }

  /** Process all images again, after the model or the place changed. */
  again() {
    this.stopped.abort();
    this.stopped = new AbortController();
    for (const item of this.items) Object.assign(item, { state: "waiting", reading: null, error: null });
    this.show(this.index);
    return this.readAll();
  }

  /** Apply a changed threshold; nothing is processed again. */
  rename() {
    this.draw();
  }

  close() {
    this.stopped.abort();
    this.overlay?.remove();
    for (const { url } of this.items) URL.revokeObjectURL(url);
  }

  async readAll() {
    const { signal } = this.stopped;
    const next = () => !signal.aborted && this.items.find(({ state }) => state === "waiting");
    const work = async () => {
      for (let item = next(); item; item = next()) await this.read(item, signal);
    };
    await Promise.all(Array.from({ length: CONCURRENCY }, work));
  }

  async read(item, signal) {
    item.state = "reading";
    if (item === this.item) this.draw();
    try {
      const { reader, model } = this.choices;
      const reading = await reader.readImage(item.file, { model, signal, whole: item.whole });
      if (signal.aborted) return;
      Object.assign(item, { state: "done", reading });
    } catch (error) {
      if (signal.aborted) return;
      Object.assign(item, { state: "failed", error });
    }
    this.draw();
    if (item === this.item) say(this.words(item));
  }

  get item() {
    return this.items[this.index];
  }

  show(index) {
    this.index = index;
    const { item } = this;
    this.overlay?.remove();
    this.image = el("img", { src: item.url, alt: item.name });
    this.holder = stage.frame(this.image);
    this.overlay = new Overlay(this.holder);
    this.image.onload = () => this.image.src === item.url && this.draw();
    this.image.onerror = () => {
      if (item === this.item) stage.blank("none", "This browser cannot show that file.");
    };
    this.draw();
  }

  draw() {
    const { item } = this, { threshold } = this.choices;
    const waits = item.state === "waiting" || item.state === "reading";
    const place = this.items.length > 1 ? `, ${this.index + 1} of ${this.items.length}` : "";
    stage.title(item.name + place);
    stage.notice(item.error, item.error && { name: "Try again", run: () => this.retry(item) });
    this.holder.classList.toggle("reading", waits);
    this.image.alt = waits ? item.name : `${item.name}. ${this.words(item)}`;
    const { reading } = item;
    if (reading) this.overlay.show(reading.faces, reading.width, reading.height, threshold);
    else this.overlay.clear();
    this.list(item);
    this.strip();
    stage.canSave(this.items.some((one) => one.reading));
    $("save-png").disabled = !reading || !this.image.naturalWidth;
  }

  list(item) {
    const { threshold } = this.choices;
    const faces = item.reading?.faces ?? [];
    const source = this.image.complete && this.image.naturalWidth ? this.image : null;
    const cards = faces.map((face, i) => faceCard(face, i, source, threshold));
    for (const [i, card] of cards.entries()) {
      card.onmouseenter = () => this.overlay.highlight(i);
      card.onmouseleave = () => this.overlay.highlight(null);
    }
    if (item.state === "failed") cards.push(stage.nobody("Not processed", "See the message above the picture."));
    else if (item.state !== "done") cards.push(stage.nobody("Processing", "This takes a moment."));
    else if (!faces.length) {
      cards.push(stage.nobody("No face found",
        "Faces must be at least 24 pixels wide, and are detected best when they look towards the camera.",
        { name: "Treat the whole picture as one face", run: () => this.retry(item, true) }));
    }
    const heading = item.state === "done" ? stage.faces(faces.length) : "Faces";
    stage.results(heading, this.sum(), cards);
  }

  retry(item, whole = false) {
    Object.assign(item, { state: "waiting", reading: null, error: null, whole });
    return this.readAll();
  }

  /** A summary of all images in one line; empty for a single image. */
  sum() {
    if (this.items.length < 2) return "";
    const faces = this.items.flatMap(({ reading }) => reading?.faces ?? []);
    const counts = {};
    for (const face of faces) {
      const { label } = named(face, this.choices.threshold);
      counts[label] = (counts[label] ?? 0) + 1;
    }
    const order = [...this.choices.model.labels, UNSURE].filter((label) => counts[label]);
    const parts = order.map((label) => `${counts[label]} ${label}`);
    const all = `${stage.faces(faces.length)} in ${count(this.items.length, "picture")}`;
    return parts.length ? `${all}: ${list(parts, "and")}.` : `${all}.`;
  }

  words({ reading, error }) {
    if (error) return `Could not be processed: ${error.message}`;
    if (!reading.faces.length) return "No face found.";
    const faces = reading.faces.map((face) => {
      const { label, confidence } = named(face, this.choices.threshold);
      return label === UNSURE ? UNSURE : `${label}, ${spoken(confidence)}`;
    });
    return `${stage.faces(faces.length)}: ${faces.join("; ")}.`;
  }

  strip() {
    const strip = $("strip");
    strip.hidden = this.items.length < 2;
    if (strip.hidden) return;
    while (strip.children.length < this.items.length) {
      const index = strip.children.length, item = this.items[index];
      strip.append(el("button", { type: "button", onclick: () => this.show(index) },
        el("img", { src: item.url, alt: "" }), el("span", { class: "count", "aria-hidden": "true" })));
    }
    this.items.forEach((item, i) => {
      const button = strip.children[i], faces = item.reading?.faces.length;
      button.setAttribute("aria-label", `${item.name}${faces === undefined ? "" : `, ${stage.faces(faces)}`}`);
      button.setAttribute("aria-current", String(i === this.index));
      button.lastChild.textContent = item.error ? "!" : faces ?? "…";
    });
  }

  json() {
    return imagesJson(this.items, this.choices.threshold);
  }

  csv() {
    return imagesCsv(this.items, this.choices.model.labels, this.choices.threshold);
  }

  png() {
    const { width, height, faces } = this.item.reading;
    return annotated(this.image, width, height, faces, this.choices.threshold);
  }

  get fileName() {
    return this.items.length > 1 ? "pictures" : this.item.name.replace(/\.\w+$/, "");
  }
}
