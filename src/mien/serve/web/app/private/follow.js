// Frames to people and their expressions, live: what mien.video.pipeline does where nothing
// may wait. Faces are looked for now and then, followed in between, and read 15 times a second;
// probabilities are smoothed over each person's own past.

import { cropFace } from "./align.js";
import { judge } from "./quality.js";
import { reduce } from "./resample.js";
import { Tracker } from "./tracker.js";

const DETECT_S = 0.2, READ_S = 1 / 15, SHORTER_SIDE = 540;
const SMOOTH_S = 0.15, FORGET_S = 1, LOST_S = 1;
const FORESIGHT_S = 0.4; // where detections are rarer, a box rather rests than runs away
const DETECT_SHARE = 0.4; // of all time, at most: a slow machine looks for faces less often

export class Follower {
  /**
   * @param {object} detector detect(raster) gives faces; framing, of its boxes.
   * @param {(crops: Uint8Array[]) => Promise<number[][]>} classify crops to probabilities.
   * @param {number} size of a crop, in pixels.
   * @param {boolean} paced false looks for faces as often as it should, however long that takes.
   */
  constructor(detector, framing, classify, size, paced = true) {
    Object.assign(this, { detector, framing, classify, size, paced });
    this.tracker = new Tracker(LOST_S);
    this.past = new Map();
    this.detected = this.wasRead = -Infinity;
    this.interval = DETECT_S;
  }

  /** The faces of the newest frame, as the server's /v1/live tells them, but for their names. */
  async read(picture, time) {
    const detect = time - this.detected >= this.interval - 1e-3;
    const read = detect || time - this.wasRead >= READ_S - 1e-3;
    const spots = detect ? await this.detect(picture, time) : this.predict(time);
    const faces = await this.readSpots(picture, time, spots, read);
    for (const [track, past] of this.past) {
      if (time - past.time > 2 * LOST_S) this.past.delete(track);
    }
    return faces;
  }

  async detect(picture, time) {
    const began = performance.now();
    const factor = Math.max(1, Math.floor(Math.min(picture.width, picture.height) / SHORTER_SIDE));
    const small = factor > 1 ? reduce(picture, factor, factor) : picture;
    const found = await this.detector.detect(small);
    const sightings = found.map(({ box, score, landmarks }) => {
      const grown = box.map((v) => v * factor);
      return {
        box: grown, score, landmarks: landmarks.map((point) => point.map((v) => v * factor)),
        crop: cropFace(picture, grown, this.framing, this.size),
      };
    });
    this.detected = this.wasRead = time;
    const cost = (performance.now() - began) / 1000;
    if (this.paced) this.interval = Math.min(Math.max(DETECT_S, cost / DETECT_SHARE), 1);
    const people = this.tracker.update(sightings, time);
    people.forEach((person) => this.tracker.confirm(person));
    return people.filter((p) => p.seen).map((person) =>
      ({ person, box: person.seen.box, sighting: person.seen, origin: "detected" }));
  }

  predict(time) {
    const until = Math.min(time, this.detected + FORESIGHT_S);
    return this.tracker.people.filter((p) => p.track && p.seen).map((person) =>
      ({ person, box: person.box(until), sighting: person.seen, origin: "predicted" }));
  }

  async readSpots(picture, time, spots, read) {
    spots.sort((a, b) => a.person.track - b.person.track);
    const crops = [], rows = new Map();
    if (read) {
      this.wasRead = time;
      for (const spot of spots) {
        const crop = spot.origin === "detected"
          ? spot.sighting.crop : cropFace(picture, spot.box, this.framing, this.size);
        spot.verdict = judge(spot.box, picture.width, picture.height, crop,
          spot.sighting.landmarks, inFront(spot, spots));
        if (spot.verdict === "good") rows.set(spot, crops.push(crop) - 1);
      }
    }
    const probabilities = crops.length ? await this.classify(crops) : [];
    return spots.map((spot) => this.face(spot, time, probabilities[rows.get(spot)] ?? null));
  }

  face(spot, time, raw) {
    const { track } = spot.person;
    const past = this.past.get(track) ?? { quality: "good", value: null, readAt: 0 };
    this.past.set(track, past);
    past.time = time;
    if (spot.verdict) past.quality = spot.verdict;
    if (raw) smooth(past, time, raw);
    return {
      track, box: spot.box, score: spot.sighting.score, quality: past.quality, raw,
      probabilities: past.quality === "good" ? past.value : null,
    };
  }
}

/** An exponential mean over seconds, whatever the frame rate. */
function smooth(past, time, raw) {
  const gap = time - past.readAt;
  const share = past.value && gap <= FORGET_S ? -Math.expm1(-Math.max(gap, 0) / SMOOTH_S) : 1;
  past.value = share === 1 ? raw : past.value.map((v, i) => v + share * (raw[i] - v));
  past.readAt = time;
}

/** The boxes of those who may hide a face: of any who is seen better than it is. */
function inFront(spot, spots) {
  return spots
    .filter((s) => s !== spot &&
      (spot.origin === "predicted" || s.sighting.score >= spot.sighting.score))
    .map((s) => s.box);
}
