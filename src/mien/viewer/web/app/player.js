// The video, or single frames of it, with the faces' boxes; or why there is none.

import { $, el, icon } from "/assets/app/dom.js";
import { hue } from "/assets/app/names.js";
import { facesAt, wantMoments } from "./moments.js";
import { announce, clamp, laneName, moment, source, store } from "./store.js";

const FRAME_MS = 120, TINY_S = 0.001;

let video = null, image = null, overlay = null, pending = null, timer = 0, last = null;
/** Times of a timeline without a video: it plays by the clock. */
let clock = null;

export const isPlaying = () => (video ? !video.paused : clock !== null);

/** Show the video of the source. */
export function mount() {
  pause();
  video = image = last = null;
  pending = null;
  const { video: address, note } = source();
  overlay = el("div", { class: "overlay" });
  if (!address) {
    overlay = null;
    $("frame").replaceChildren(el("div", { class: "absent" }, icon("none"), el("p", {}, note || "There is no video.")));
    return;
  }
  video = el("video", { src: address, preload: "auto", playsinline: true, "aria-label": "Video" });
  video.addEventListener("error", showFrames);
  video.addEventListener("seeked", seekOn);
  video.addEventListener("loadedmetadata", () => { seek(moment()); drawBoxes(); });
  for (const name of ["play", "pause", "ended"]) video.addEventListener(name, () => announce("playing"));
  video.addEventListener("click", toggle);
  place(video);
}

function place(media) {
  $("frame").replaceChildren(el("div", { class: "image" }, el("div", { class: "media" }, media, overlay)));
}

/** The browser cannot play the format: the server decodes single frames. */
function showFrames() {
  if (!video) return;
  video = null;
  image = el("img", { alt: "Frame of the video" });
  image.addEventListener("load", () => { drawBoxes(); seekOn(); });
  image.addEventListener("error", () => {
    overlay = image = null;
    const words = `The video ${source().name} cannot be read; the timeline is shown without it.`;
    $("frame").replaceChildren(el("div", { class: "absent" }, icon("warning"), el("p", {}, words)));
  });
  place(image);
  announce("playing");
  seek(moment());
}

/** Show the frame at a moment; while one is on its way, only the latest wish is kept. */
export function seek(time) {
  if (video) {
    if (video.readyState < 1 || video.seeking) pending = time;
    else video.currentTime = time + TINY_S;
  } else if (image) {
    if (timer) {
      pending = time;
      return;
    }
    timer = setTimeout(() => { timer = 0; seekOn(); }, FRAME_MS);
    const step = source().step_s, path = `/v1/sources/${store.number}/frame.jpg?time_s=${(Math.round(time / step) * step).toFixed(3)}`;
    if (path !== last) image.src = last = path;
  }
}

function seekOn() {
  if (pending === null) return;
  const time = pending;
  pending = null;
  seek(time);
}

export function toggle() {
  if (isPlaying()) pause();
  else play();
}

function play() {
  store.hover = null;
  if (store.head >= source().end_s - source().step_s) store.head = 0;
  if (video) {
    video.currentTime = store.head + TINY_S;
    video.play().catch(showFrames);
  } else clock = { at: performance.now(), head: store.head };
  announce("playing");
  requestAnimationFrame(follow);
}

export function pause() {
  if (video && !video.paused) video.pause();
  clock = null;
  announce("playing");
}

/** Move the head with the video, or with the clock. */
function follow(now) {
  if (!isPlaying()) return;
  store.head = video ? video.currentTime : clock.head + Math.max(now - clock.at, 0) / 1000;
  store.head = clamp(store.head, 0, source().end_s);
  if (image) seek(store.head);
  if (!video && store.head >= source().end_s) pause();
  wantMoments(store.head, true);
  announce("time");
  requestAnimationFrame(follow);
}

/** Draw the boxes of the moment that is shown. */
export function drawBoxes() {
  if (!overlay) return;
  const width = video ? video.videoWidth : image?.naturalWidth, height = video ? video.videoHeight : image?.naturalHeight;
  const faces = facesAt(moment()) ?? [];
  // Of a reduced frame only the proportions are known; its boxes would be too large.
  if (!width || image) return overlay.replaceChildren();
  overlay.replaceChildren(...faces.map(({ lane, box, label }) => {
    const [x0, y0, x1, y1] = box, own = source().lanes.find((one) => one.id === lane);
    const name = own?.kind === "not_a_face" ? "not a face" : own ? laneName(own) : "";
    const node = el("div", { class: `face-box ${label === "unsure" ? "unsure" : ""} ${y0 < height * 0.09 ? "low" : ""}` }, el("span", {}, `${name}  ${label}`));
    Object.assign(node.style, {
      left: `${(x0 / width) * 100}%`, top: `${(y0 / height) * 100}%`,
      width: `${((x1 - x0) / width) * 100}%`, height: `${((y1 - y0) / height) * 100}%`,
    });
    node.style.setProperty("--hue", hue(label));
    return node;
  }));
}
