// Downloads: JSON, CSV, and the annotated image (PNG).

import { el } from "./dom.js";
import { named, paint, titled, UNREAD, UNSURE } from "./names.js";
import { placeAll } from "./place.js";
import { summarise } from "./people.js";

const ABOUT = ["source", "width", "height", "detector", "model"];
const FACE = ["face", "x0", "y0", "x1", "y1", "score", "label", "confidence"];

/** Download a file. */
export function save(name, content, type) {
  const blob = content instanceof Blob ? content : new Blob([content], { type });
  const link = el("a", { href: URL.createObjectURL(blob), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

/** Images as `mien predict --json` writes them. */
export function imagesJson(items, threshold) {
  const images = items.map(({ name, reading, error }) => ({
    source: name, width: reading?.width ?? 0, height: reading?.height ?? 0,
    detector: reading?.detector ?? null, model: reading?.model ?? null,
    faces: (reading?.faces ?? []).map((face) => ({
      box: face.box.map((v) => rounded(v, 1)), score: rounded(face.score, 4),
      ...answer(face, threshold), probabilities: fractions(face.probabilities),
    })),
    error: error ? { message: error.message, hint: error.hint } : null,
  }));
  return JSON.stringify({ unsure_below: threshold, images }, null, 1);
}

/** Images as `mien predict --csv` writes them: one row per face, or per image without a face. */
export function imagesCsv(items, labels, threshold) {
  const rows = [[...ABOUT, ...FACE, ...labels.map((label) => `p_${label}`), "error"]];
  for (const { name, reading, error } of items) {
    const about = [name, reading?.width ?? 0, reading?.height ?? 0, reading?.detector ?? "", reading?.model ?? ""];
    if (!reading?.faces.length) {
      rows.push([...about, ...Array(FACE.length + labels.length).fill(""), error?.message ?? ""]);
    }
    (reading?.faces ?? []).forEach((face, number) => {
      const { label, confidence } = answer(face, threshold);
      rows.push([...about, number, ...face.box.map((v) => rounded(v, 1)), rounded(face.score, 4), label,
        confidence, ...labels.map((name) => rounded(face.probabilities[name], 4)), ""]);
    });
  }
  return csv(rows);
}

/** Rows of a camera or video, and a summary per person. */
export function framesJson(frames, labels, threshold, source, end = null) {
  const [names, ...rows] = table(frames, labels, threshold, source);
  const objects = rows.map((row) => Object.fromEntries(names.map((name, i) => [name, row[i] === "" ? null : row[i]])));
  const tracks = summarise(frames, threshold, end).map(({ now, fractions: parts, ...person }) => ({
    ...person, first_s: rounded(person.first_s, 3), last_s: rounded(person.last_s, 3),
    seen_s: rounded(person.seen_s, 3), fraction_of_time: fractions(parts),
  }));
  return JSON.stringify({ source, unsure_below: threshold, tracks, rows: objects }, null, 1);
}

export function framesCsv(frames, labels, threshold, source) {
  return csv(table(frames, labels, threshold, source));
}

function table(frames, labels, threshold, source) {
  const names = ["source", "frame", "time_s", "track", "x0", "y0", "x1", "y1", "score", "quality", "yaw",
    "pitch", "roll", ...labels.map((label) => `raw_${label}`), ...labels.map((label) => `p_${label}`),
    "label", "confidence", "unsure"];
  const rows = [names];
  frames.forEach(({ frame, time_s: time, faces }, i) => {
    const about = [source, frame ?? i, rounded(time, 3)];
    if (!faces.length) rows.push([...about, ...Array(names.length - 3).fill("")]);
    for (const face of faces) {
      const columns = (values) => labels.map((label) => (values ? rounded(values[label], 4) : ""));
      const { label, confidence } = answer(face, threshold);
      rows.push([...about, face.track, ...face.box.map((v) => rounded(v, 1)), rounded(face.score, 4),
        face.quality, ...[face.yaw, face.pitch, face.roll].map((angle) => (angle == null ? "" : rounded(angle, 1))),
        ...columns(face.raw), ...columns(face.probabilities), label ?? "", confidence ?? "",
        label === null || label === UNSURE]);
    }
  });
  return rows;
}

function answer(face, threshold) {
  const { label, confidence } = named(face, threshold);
  return { label: label === UNREAD ? null : label, confidence: confidence === null ? null : rounded(confidence, 4) };
}

const fractions = (values) => Object.fromEntries(Object.entries(values).map(([k, v]) => [k, rounded(v, 4)]));
const rounded = (value, digits) => Number(value.toFixed(digits));

function csv(rows) {
  // CSV injection: a spreadsheet would evaluate a cell that starts like a formula.
  const cell = (value) => {
    const text = typeof value === "string" && /^[=+\-@\t]/.test(value) ? `'${value}` : String(value);
    return /[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  };
  return `${rows.map((row) => row.map(cell).join(",")).join("\n")}\n`;
}

/** The image in its original size with boxes and panels, as a PNG blob. */
export async function annotated(source, width, height, faces, threshold, mirrored = false) {
  const canvas = el("canvas", { width, height });
  const pen = canvas.getContext("2d");
  if (mirrored) pen.setTransform(-1, 0, 0, 1, width, 0);
  pen.drawImage(source, 0, 0, width, height);
  pen.setTransform(1, 0, 0, 1, 0, 0);
  const flip = ([x0, y0, x1, y1]) => (mirrored ? [width - x1, y0, width - x0, y1] : [x0, y0, x1, y1]);
  const boxes = faces.map((face) => flip(face.box));
  const panels = faces.map((face, i) => new Panel(pen, face, boxes[i], [width, height], threshold));
  const gap = Math.max(4, Math.min(width, height) * 0.008);
  panels.forEach((panel, i) => panel.outline(boxes[i]));
  placeAll(boxes, [width, height], gap, (i, short) => panels[i].size(short))
    .forEach((spot, i) => panels[i].draw(spot));
  return new Promise((resolve) => canvas.toBlob(resolve, "image/png"));
}

/** A face's panel on a canvas; the text scales with the face, within readable sizes. */
class Panel {
  constructor(pen, face, [x0, , x1], size, threshold) {
    const smallest = Math.max(11, Math.min(...size) * 0.022), largest = Math.max(13, Math.min(...size) * 0.06);
    this.text = Math.round(Math.min(Math.max((x1 - x0) * 0.13, smallest), largest));
    this.name = named(face, threshold);
    this.title = titled(this.name, face.track);
    this.rows = Object.entries(face.probabilities ?? {});
    this.pen = pen;
    pen.font = this.font(600);
    this.heading = pen.measureText(this.title).width + this.text;
    pen.font = this.font(400);
    this.names = Math.max(0, ...this.rows.map(([label]) => pen.measureText(label).width));
  }

  font(weight) {
    return `${weight} ${this.text}px "Inter Var", system-ui, sans-serif`;
  }

  size(short) {
    const pad = this.text * 0.55, rows = short ? 0 : this.rows.length;
    const inner = rows ? Math.max(this.heading, this.names + this.text * 4.6) : this.heading;
    return [inner + 2 * pad, this.text * 1.4 * (rows + 1) + 1.4 * pad];
  }

  outline([x0, y0, x1, y1]) {
    const { pen } = this, line = Math.max(2, this.text / 6);
    pen.lineWidth = line;
    pen.strokeStyle = paint(this.name.label);
    pen.setLineDash(this.name.unsure ? [line * 3, line * 2] : []);
    pen.beginPath();
    pen.roundRect(x0, y0, x1 - x0, y1 - y0, (x1 - x0) * 0.06);
    pen.stroke();
    pen.setLineDash([]);
  }

  draw({ left, top, width, height, short }) {
    const { pen, text } = this, pad = text * 0.55, step = text * 1.4;
    const round = (x, y, w, h, r, fill) => {
      pen.fillStyle = fill;
      pen.beginPath();
      pen.roundRect(x, y, w, h, r);
      pen.fill();
    };
    round(left, top, width, height, pad, "#16181ce0");
    round(left + pad, top + pad + text * 0.2, text * 0.62, text * 0.62, text, paint(this.name.label));
    pen.textBaseline = "top";
    pen.fillStyle = "#fff";
    pen.font = this.font(600);
    pen.fillText(this.title, left + pad + text, top + pad);
    pen.font = this.font(400);
    (short ? [] : this.rows).forEach(([label, fraction], i) => {
      const y = top + pad + (i + 1) * step, x = left + pad + this.names + text * 0.6;
      pen.fillStyle = "#fff";
      pen.fillText(label, left + pad, y);
      round(x, y + text * 0.3, text * 4, text * 0.42, text, "#ffffff30");
      round(x, y + text * 0.3, Math.max(text * 4 * fraction, 1), text * 0.42, text, paint(label));
    });
  }
}
