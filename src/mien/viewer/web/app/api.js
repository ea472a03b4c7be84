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
