// Who is who from frame to frame, as mien.video.track: a Kalman filter for each person
// and the cheapest assignment; where faces cross, how alike they look to the person a moment ago.
// This is no recognition: whoever comes back after `lost` seconds is a new person.

import { assign } from "./assign.js";

const MEASURE = 0.05, ACCELERATION = [3, 3, 1, 1];
const REACH = 0.9, REACH_PER_S = 0.8, RESIZE = 0.6;
const ALIKE = 0.5, REACH_ALIKE_PER_S = 2, LOOKS = 1.2, FORGIVEN_DISTANCE = 0.2;
const IMPOSSIBLE = 1e6;

/** Somebody who is followed; `track` is 0 before they have a number. */
export class Person {
  constructor(sighting, time, look) {
    const side = Math.exp((measured(sighting.box)[2] + measured(sighting.box)[3]) / 2);
    this.place = measured(sighting.box); // centre x, y, log width, log height
    this.speed = [0, 0, 0, 0]; // of each, per second
    // Covariance of each with its speed: [place, both, speed].
    this.spread = [side, side, 1, 1].map((unit, k) =>
      [(MEASURE * unit) ** 2, 0, (k < 2 ? unit : 0.3) ** 2]);
    Object.assign(this, { time, lastSeen: time, track: 0, seen: sighting, before: null, look });
    this.last = null;
  }

  /** Side of the box in pixels. */
  get side() {
    return Math.exp((this.place[2] + this.place[3]) / 2);
  }

  /** Move on to a moment, with constant speed. */
  predict(time) {
    const dt = time - this.time;
    if (dt <= 0) return;
    const side = this.side, fade = Math.exp(-2 * dt); // a size that goes on growing fills the picture
    this.speed[2] *= fade;
    this.speed[3] *= fade;
    this.spread = this.spread.map(([a, b, c], k) => {
      const noise = (ACCELERATION[k] * (k < 2 ? side : 1)) ** 2;
      return [
        a + 2 * dt * b + dt * dt * c + (noise * dt ** 4) / 4,
        b + dt * c + (noise * dt ** 3) / 2,
        c + noise * dt * dt,
      ];
    });
    this.place = this.place.map((value, k) => value + this.speed[k] * dt);
    this.time = time;
  }

  /** Take a detection in; `predict` was called for its moment. */
  correct(sighting, time) {
    const found = measured(sighting.box), side = this.side;
    for (let k = 0; k < 4; k++) {
      const [a, b, c] = this.spread[k];
      const whole = a + (MEASURE * (k < 2 ? side : 1)) ** 2;
      const gain = a / whole, gainSpeed = b / whole, off = found[k] - this.place[k];
      this.place[k] += gain * off;
      this.speed[k] += gainSpeed * off;
      this.spread[k] = [a - gain * a, b - gain * b, c - gainSpeed * b];
    }
    Object.assign(this, { seen: sighting, lastSeen: time, last: found.slice(0, 2) });
  }

  /** How far a detection is from where the person may be, in pixels: unseen, they may have stopped. */
  distance([x, y]) {
    let dx = x - this.place[0], dy = y - this.place[1];
    if (!this.before && this.last) {
      const bx = this.last[0] - this.place[0], by = this.last[1] - this.place[1];
      const share = (dx * bx + dy * by) / Math.max(bx * bx + by * by, 1e-9);
      const kept = Math.min(Math.max(share, 0), 1);
      dx -= kept * bx;
      dy -= kept * by;
    }
    return Math.hypot(dx, dy);
  }

  /** Where the face should be at a moment: (x0, y0, x1, y1). */
  box(time = this.time) {
    const dt = time - this.time;
    const x = this.place[0] + this.speed[0] * dt, y = this.place[1] + this.speed[1] * dt;
    const width = Math.exp(this.place[2]) / 2, height = Math.exp(this.place[3]) / 2;
    return [x - width, y - height, x + width, y + height];
  }
}

/** Follows the people of one camera or video. */
export class Tracker {
  constructor(lost = 1, minScore = 0.9) {
    Object.assign(this, { lost, minScore, people: [], numbers: 0 });
  }

  /**
   * Give each detection to a person; return those followed now.
   * @param {object[]} sightings {box, score, crop}, of the newest frame.
   */
  update(sightings, time) {
    for (const person of this.people) {
      person.before = person.seen;
      person.seen = null;
      person.predict(time);
    }
    const looks = sightings.map((s) => standardised(Float32Array.from(s.crop)));
    const taken = this.match(sightings, time, looks);
    sightings.forEach((sighting, i) => {
      if (taken.has(i) || sighting.score < this.minScore) return;
      this.people.push(new Person(sighting, time, looks[i]));
    });
    // An unconfirmed face that is not found again at once was no face.
    this.people = this.people.filter(
      (p) => p.seen || (p.track && time - p.lastSeen <= this.lost));
    return this.people;
  }

  /** Give a person a number. */
  confirm(person) {
    person.track ||= ++this.numbers;
  }

  match(sightings, time, looks) {
    const costs = this.people.map((p) => sightings.map((s, i) => cost(p, s, time, looks[i])));
    const taken = new Set();
    for (const [row, column] of assign(costs)) {
      if (costs[row][column] >= IMPOSSIBLE) continue;
      const person = this.people[row], look = looks[column];
      person.correct(sightings[column], time);
      this.confirm(person);
      person.look = standardised(person.look.map((v, i) => 0.7 * v + 0.3 * look[i]));
      taken.add(column);
    }
    return taken;
  }
}

/** How badly a detection fits a person. */
function cost(person, sighting, time, look) {
  const found = measured(sighting.box);
  const distance = person.distance(found) / person.side;
  const unseen = time - person.lastSeen;
  const resize =
    (Math.abs(found[2] - person.place[2]) + Math.abs(found[3] - person.place[3])) / 2;
  const alike = person.look.reduce((sum, v, i) => sum + v * look[i], 0);
  const further = alike > ALIKE ? REACH_ALIKE_PER_S : REACH_PER_S;
  if (distance > REACH + further * unseen || resize > RESIZE) return IMPOSSIBLE;
  // Where a face is just where it should be, looking away or laughing must not lose it.
  const forgiven = Math.min(1, distance / FORGIVEN_DISTANCE + Math.min(unseen, 1));
  return distance + resize + LOOKS * (1 - alike) * forgiven;
}

function measured([x0, y0, x1, y1]) {
  return [(x0 + x1) / 2, (y0 + y1) / 2,
    Math.log(Math.max(x1 - x0, 1)), Math.log(Math.max(y1 - y0, 1))];
}

function standardised(values) {
  const mean = values.reduce((sum, v) => sum + v, 0) / values.length;
  const centred = values.map((v) => v - mean);
  const length = Math.max(Math.sqrt(centred.reduce((sum, v) => sum + v * v, 0)), 1e-6);
  return centred.map((v) => v / length);
}
