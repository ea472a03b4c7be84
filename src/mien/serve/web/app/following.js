// Base class of camera and video sessions: frames, timeline, a card per person.

import { PersonCard } from "./cards.js";
import { $ } from "./dom.js";
import { annotated, framesCsv, framesJson } from "./download.js";
import { summarise } from "./people.js";
import * as stage from "./stage.js";
import { Timeline } from "./timeline.js";

export class Following {
  constructor(choices, fileName) {
    Object.assign(this, { choices, fileName, frames: [], cards: new Map(), timeline: null, end: null });
  }

  openTimeline(options) {
    this.timeline?.remove();
    $("timeline").hidden = false;
    this.timeline = new Timeline($("timeline"), this.choices.model.labels, options);
  }

  /** Show each person's summary, and their expression in `frame` (null: none). */
  list(frame, source, empty) {
    const people = summarise(this.frames, this.choices.threshold, this.end);
    const cards = people.map((person) => {
      if (!this.cards.has(person.track)) this.cards.set(person.track, this.card(person));
      const card = this.cards.get(person.track);
      const face = frame?.faces.find(({ track }) => track === person.track) ?? null;
      card.show(person, face, this.choices.threshold);
      if (face && source) card.updateCrop(source, face.box);
      return card.node;
    });
    const nodes = cards.length ? cards : [stage.nobody(...empty)];
    stage.results(cards.length ? stage.people(cards.length) : "People", "", nodes);
    stage.canSave(this.frames.length > 0);
    $("save-png").disabled = !frame;
  }

  card(person) {
    const card = new PersonCard(person);
    card.node.onmouseenter = () => this.overlay?.highlight(person.track);
    card.node.onmouseleave = () => this.overlay?.highlight(null);
    return card;
  }

  forget() {
    this.frames = [];
    this.cards.clear();
    this.timeline?.remove();
    this.overlay?.remove();
    this.overlay = this.timeline = null;
    $("timeline").hidden = true;
  }

  json() {
    return framesJson(this.frames, this.choices.model.labels, this.choices.threshold, this.fileName, this.end);
  }

  csv() {
    return framesCsv(this.frames, this.choices.model.labels, this.choices.threshold, this.fileName);
  }

  /** The displayed frame with its faces, as PNG. */
  snapshot(source, frame, mirrored) {
    const width = source.videoWidth || source.width, height = source.videoHeight || source.height;
    return annotated(source, width, height, frame.faces, this.choices.threshold, mirrored);
  }
}
