// Tracks faces from frame to frame, as mien.video.track: a Kalman filter per track and the cheapest
// assignment; where faces cross, the appearance a moment ago decides.
// This does not identify people: whoever comes back after `lost` seconds gets a new number.

import {
  ACCELERATION, SIMILAR, FORGIVEN_DISTANCE, APPEARANCE_WEIGHT, LOST_S, MEASURE, MIN_TRACK_SCORE, RARE_S, REACH,
  REACH_SIMILAR_PER_S, REACH_PER_S, RESIZE, RESIZE_PER_S, CERTAIN_SCORE, UNSEEN_S,
} from "../constants.js";
import { assign } from "./assign.js";
import { lostAfter } from "./pace.js";

const IMPOSSIBLE = 1e6;

/** A tracked face; `number` is 0 before it is confirmed. */
export class Track {
  constructor(detection, time, appearance) {
    const side = Math.exp((measured(detection.box)[2] + measured(detection.box)[3]) / 2);
    this.state = measured(detection.box); // centre x, y, log width, log height
    this.speed = [0, 0, 0, 0]; // of each, per second
    // Covariance of each value with its speed: [value, both, speed].
    this.covariance = [side, side, 1, 1].map((unit, k) =>
      [(MEASURE * unit) ** 2, 0, (k < 2 ? unit : 0.3) ** 2]);
    Object.assign(this, {
      time, lastSeen: time, number: 0, seen: detection, before: null, appearance, lastCentre: null,
    });
  }

  /** Side of the box in pixels. */
  get side() {
    return Math.exp((this.state[2] + this.state[3]) / 2);
  }

  /** Predict the state at a time, with constant speed. */
  predict(time) {
    const dt = time - this.time;
    if (dt <= 0) return;
    const side = this.side, fade = Math.exp(-2 * dt); // a size that kept growing would fill the image
    this.speed[2] *= fade;
    this.speed[3] *= fade;
    this.covariance = this.covariance.map(([a, b, c], k) => {
      const noise = (k < 2 ? ACCELERATION[0] * side : ACCELERATION[1]) ** 2;
      return [
        a + 2 * dt * b + dt * dt * c + (noise * dt ** 4) / 4,
        b + dt * c + (noise * dt ** 3) / 2,
        c + noise * dt * dt,
      ];
    });
    this.state = this.state.map((value, k) => value + this.speed[k] * dt);
    this.time = time;
  }

  /** Update the state with a detection; `predict` was called for its time. */
  correct(detection, time) {
    const found = measured(detection.box), side = this.side;
    for (let k = 0; k < 4; k++) {
      const [a, b, c] = this.covariance[k];
      const total = a + (MEASURE * (k < 2 ? side : 1)) ** 2;
      const gain = a / total, gainSpeed = b / total, offset = found[k] - this.state[k];
      this.state[k] += gain * offset;
      this.speed[k] += gainSpeed * offset;
      this.covariance[k] = [a - gain * a, b - gain * b, c - gainSpeed * b];
    }
    Object.assign(this, { seen: detection, lastSeen: time, lastCentre: found.slice(0, 2) });
  }

  /**
   * Distance of a detection's centre, in pixels. A face that was not detected lately may have moved
   * on or stopped: anywhere between its last place and the prediction counts as no distance.
   */
  distance([x, y]) {
    let dx = x - this.state[0], dy = y - this.state[1];
    if (!this.before && this.lastCentre) {
      const bx = this.lastCentre[0] - this.state[0], by = this.lastCentre[1] - this.state[1];
      const fraction = (dx * bx + dy * by) / Math.max(bx * bx + by * by, 1e-9);
      const kept = Math.min(Math.max(fraction, 0), 1);
      dx -= kept * bx;
      dy -= kept * by;
    }
    return Math.hypot(dx, dy);
  }

  /** The expected box at a time: (x0, y0, x1, y1). */
  box(time = this.time) {
    const dt = time - this.time;
    const x = this.state[0] + this.speed[0] * dt, y = this.state[1] + this.speed[1] * dt;
    const width = Math.exp(this.state[2]) / 2, height = Math.exp(this.state[3]) / 2;
    return [x - width, y - height, x + width, y + height];
  }
}

/** Tracks the faces of one camera or video. */
export class Tracker {
  /**
   * @param {number} lost seconds without a detection after which a track ends; see `every`.
   * @param {number} minScore detections below it continue tracks but start none.
   */
  constructor(lost = LOST_S, minScore = MIN_TRACK_SCORE) {
    Object.assign(this, { lost, minScore, tracks: [], numbers: 0 });
  }

  /**
   * Assign each detection to a track; returns the current tracks.
   * @param {object[]} detections {box, score, crop}, of the newest frame.
   * @param {number} time of the frame, in seconds.
   * @param {number} every seconds from one detection to the next: a track survives one that missed
   *   it, and where this comes near `lost`, a face detected once counts.
   */
  update(detections, time, every = 0) {
    for (const track of this.tracks) {
      track.before = track.seen;
      track.seen = null;
      track.predict(time);
    }
    const appearances = detections.map((d) => standardized(Float32Array.from(d.crop)));
    const taken = this.match(detections, time, appearances);
    detections.forEach((detection, i) => {
      if (taken.has(i) || detection.score < this.minScore) return;
      this.tracks.push(new Track(detection, time, appearances[i]));
    });
    if (every >= Math.max(0.99 * this.lost, RARE_S)) {
      for (const track of this.tracks) if (track.before?.score >= CERTAIN_SCORE) this.confirm(track);
    }
    // A face that was detected once, and not again at once, was a false alarm.
    const lost = lostAfter(this.lost, every);
    this.tracks = this.tracks.filter((t) => t.seen || (t.number && time - t.lastSeen <= lost));
    return this.tracks;
  }

  /** Give a track a number. */
  confirm(track) {
    track.number ||= ++this.numbers;
  }

  match(detections, time, appearances) {
    const maxUnseen = Math.max(this.lost, UNSEEN_S);
    const costs = this.tracks.map((t) =>
      detections.map((d, i) => cost(t, d, time, appearances[i], maxUnseen)));
    const taken = new Set();
    for (const [row, column] of assign(costs)) {
      if (costs[row][column] >= IMPOSSIBLE) continue;
      const track = this.tracks[row], appearance = appearances[column];
      track.correct(detections[column], time);
      this.confirm(track);
      track.appearance = standardized(
        track.appearance.map((v, i) => 0.7 * v + 0.3 * appearance[i]));
      taken.add(column);
    }
    return taken;
  }
}

/** Cost of assigning a detection to a track; the reach grows for at most `maxUnseen` seconds. */
function cost(track, detection, time, appearance, maxUnseen) {
  const found = measured(detection.box);
  const distance = track.distance(found) / track.side;
  const unseen = Math.min(time - track.lastSeen, maxUnseen);
  const resize =
    (Math.abs(found[2] - track.state[2]) + Math.abs(found[3] - track.state[3])) / 2;
  const similarity = track.appearance.reduce((sum, v, i) => sum + v * appearance[i], 0);
  const perSecond = similarity > SIMILAR ? REACH_SIMILAR_PER_S : REACH_PER_S;
  const maxResize = RESIZE + RESIZE_PER_S * Math.max(unseen - 1, 0);
  if (distance > REACH + perSecond * unseen || resize > maxResize) return IMPOSSIBLE;
  // A face just where it is expected may turn away or laugh without losing its track.
  const weight = Math.min(1, distance / FORGIVEN_DISTANCE + Math.min(unseen, 1));
  return distance + resize + APPEARANCE_WEIGHT * (1 - similarity) * weight;
}

function measured([x0, y0, x1, y1]) {
  return [(x0 + x1) / 2, (y0 + y1) / 2,
    Math.log(Math.max(x1 - x0, 1)), Math.log(Math.max(y1 - y0, 1))];
}

function standardized(values) {
  const mean = values.reduce((sum, v) => sum + v, 0) / values.length;
  const centred = values.map((v) => v - mean);
  const length = Math.max(Math.sqrt(centred.reduce((sum, v) => sum + v * v, 0)), 1e-6);
  return centred.map((v) => v / length);
}
