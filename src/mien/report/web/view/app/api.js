// Requests to the viewer's server. An error has a message and a hint.

export class Refused extends Error {
  constructor(message, hint = "", status = 0) {
    super(message);
    Object.assign(this, { hint, status });
  }
}

async function respond(path, options) {
  let response;
  try {
    response = await fetch(path, options);
  } catch {
    throw new Refused("The viewer does not respond", "Is mien view still running in its terminal?");
  }
  if (response.ok) return response;
  const problem = await response.json().catch(() => ({}));
  throw new Refused(problem.detail ?? `The viewer answered ${response.status}`, problem.hint, response.status);
}

export async function getJson(path) {
  return (await respond(path)).json();
}

export async function getBytes(path, signal) {
  return (await respond(path, { signal })).arrayBuffer();
}

export async function post(path, value = {}) {
  const headers = { "content-type": "application/json" };
  return (await respond(path, { method: "POST", headers, body: JSON.stringify(value) })).json();
}

export const CAVEAT = "The labels describe how a face looks in an image, not what someone feels. The viewer sends nothing to other computers; it writes people.json and study.toml when you change something.";
export const EXPORT = "Export corrections";
export const canExport = (data) => data.corrections.length > 0;

/** Write the corrections as a data set; return what to say. */
export async function exportChanges() {
  const { path, images, command, split, skipped } = await post("/v1/export");
  return { words: `Wrote ${images} faces with votes to ${path}; ${split}. ${skipped.map((one) => `${one}. `).join("")}Next: `, code: command };
}

/** A frame of a video that the browser cannot play. */
export const frameAddress = (source, time) => `/v1/sources/${source}/frame.jpg?time_s=${time.toFixed(3)}`;
export const missing = (source) => `The video ${source.name} cannot be read; the timeline is shown without it.`;

/** A sheet of previews: { bitmap, times, size, sheets }, or null where the video has none. */
export async function getSheet(source, number) {
  const response = await respond(`/v1/sources/${source}/sheets/${number}.jpg`);
  if (response.status === 204) return null;
  const header = (name) => response.headers.get(name);
  return {
    bitmap: await createImageBitmap(await response.blob()),
    times: header("x-times").split(",").map(Number), size: header("x-size").split("x").map(Number),
    sheets: Number(header("x-sheets")),
  };
}
