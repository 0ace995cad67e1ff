// A page that talks through each door's WebSocket as a browser must: no header of its own. What it saw goes to
// who serves it. As `…/stranger` it is the same page under another name, which no door lists.

const { gateway, key } = JSON.parse(document.getElementById("place").textContent);
const socketTo = (path, protocols) => new WebSocket(gateway.replace("http", "ws") + path, protocols);
const PATIENCE = 15_000;

/** What is said, once; the second time the model counts what it was told. */
const SAID = ["hello from a page", "and again"];

/** A socket whose frames are waited for. */
class Line {
  constructor(socket) {
    this.socket = socket;
    this.kinds = [];
    this.frames = [];
    this.wake = () => {};
    const over = (why) => () => {
      this.over ??= why;
      this.wake();
    };
    socket.onmessage = ({ data }) => {
      const frame = JSON.parse(data);
      if (this.kinds.at(-1) !== frame.type) this.kinds.push(frame.type);
      this.frames.push(frame);
      this.wake();
    };
    socket.onerror = over("error");
    socket.onclose = over("closed");
    this.opened = new Promise((resolve, reject) => {
      socket.onopen = resolve;
      socket.addEventListener("close", () => reject(new Error("the socket was refused")));
    });
  }

  /** The next frame that fits. */
  async next(fits) {
    const until = performance.now() + PATIENCE;
    for (;;) {
      while (this.frames.length > 0) {
        const frame = this.frames.shift();
        if (fits(frame)) return frame;
      }
      if (this.over || performance.now() > until) throw new Error(`${this.over ?? "no frame"} after ${this.kinds}`);
      await new Promise((resolve) => {
        this.wake = resolve;
        setTimeout(resolve, 1_000);
      });
    }
  }

  say(frame) {
    this.socket.send(JSON.stringify(frame));
  }

  /** Adds up pieces until the frame that ends the turn, which says the whole. */
  async turn(piece, ends) {
    let streamed = "";
    const last = await this.next((frame) => {
      streamed += piece(frame) ?? "";
      return ends(frame);
    });
    return { streamed, last };
  }
}

async function post(path, body, more = {}) {
  const headers = { Authorization: `Bearer ${key}`, "Content-Type": "application/json", ...more };
  const answer = await fetch(gateway + path, { method: "POST", headers, body });
  if (!answer.ok) throw new Error(`${path} was answered ${answer.status}`);
  return answer.json();
}

/** Each door: how its socket is opened, and how one turn goes. */
const doors = {
  native: {
    path: async () => "/api/v1/ws",
    protocols: () => ["moongate.v1", `bearer.${key}`],
    async greet(line) {
      this.session = (await post("/api/v1/sessions", "{}")).id;
      line.say({ type: "subscribe", session: this.session });
    },
    async turn(line, text) {
      line.say({ type: "input", session: this.session, text });
      const { streamed, last } = await line.turn(
        (frame) => (frame.type === "delta" && frame.delta.kind === "text" ? frame.delta.text : ""),
        (frame) => frame.event?.type === "message.completed",
      );
      await line.next((frame) => frame.event?.type === "turn.completed");
      return { streamed, whole: last.event.parts.map((part) => part.text ?? "").join("") };
    },
  },

  oxios: {
    path: async () => `/oxios/api/chat/stream?ticket=${(await post("/oxios/api/chat/ticket")).ticket}`,
    async turn(line, content) {
      line.say({ type: "message", content, session_id: this.session ?? "" });
      const { streamed, last } = await line.turn(
        (frame) => (frame.type === "token" ? frame.content : ""),
        (frame) => frame.type === "done",
      );
      this.session = last.session_id;
      const detail = await fetch(`${gateway}/oxios/api/sessions/${last.session_id}`, {
        headers: { Authorization: `Bearer ${key}` },
      });
      return { streamed, whole: (await detail.json()).agent_responses.at(-1).content };
    },
  },

  construct: {
    path: async () => "/construct/ws/chat?session_id=a-page",
    protocols: () => ["construct.v1", `bearer.${key}`],
    async greet(line) {
      await line.next((frame) => frame.type === "session_start");
      line.say({ type: "connect", device_name: "a browser" });
      await line.next((frame) => frame.type === "connected");
    },
    async turn(line, content) {
      line.say({ type: "message", content });
      const { streamed, last } = await line.turn(
        (frame) => (frame.type === "chunk" ? frame.content : ""),
        (frame) => frame.type === "done",
      );
      return { streamed, whole: last.full_response };
    },
  },

  orra: {
    path: async () => "/orra/ws",
    protocols: () => ["orra.v1", `bearer.${key}`],
    async turn(line, message) {
      line.say({ type: "chat", message, namespace: "a:page" });
      const { streamed, last } = await line.turn(
        (frame) => (frame.type === "text_delta" ? frame.content : ""),
        (frame) => frame.type === "response",
      );
      return { streamed, whole: last.message };
    },
  },
};

async function chat(door) {
  const line = new Line(socketTo(await door.path(), door.protocols?.() ?? []));
  try {
    await line.opened;
    await door.greet?.(line);
    const turns = [];
    for (const text of SAID) turns.push(await door.turn(line, text));
    return { protocol: line.socket.protocol, kinds: line.kinds, turns };
  } finally {
    line.socket.close();
  }
}

/** Whether a socket opens for this page, with everything right but its name. */
async function opens(door, path) {
  const line = new Line(socketTo(path, door.protocols?.() ?? []));
  const opened = await line.opened.then(() => true, () => false);
  line.socket.close();
  return opened;
}

/** The same page under another name tries every door; `ticket` is one this page was given. */
async function asStranger() {
  const frame = document.createElement("iframe");
  const heard = new Promise((resolve) => addEventListener("message", ({ data }) => resolve(data), { once: true }));
  const path = await doors.oxios.path();
  frame.src = `http://localhost:${location.port}/stranger#${encodeURIComponent(path)}`;
  document.body.append(frame);
  return heard;
}

function show(name, text, kind = "") {
  const section = document.getElementById(name) ?? document.createElement("section");
  section.id = name;
  if (!section.firstChild) {
    section.append(Object.assign(document.createElement("h2"), { textContent: name }));
    document.querySelector("main").append(section);
  }
  section.append(Object.assign(document.createElement("p"), { textContent: text, className: kind }));
}

async function main() {
  const report = { chats: {}, faults: {}, stranger: {} };
  for (const [name, door] of Object.entries(doors)) {
    try {
      const seen = await chat(door);
      report.chats[name] = seen;
      show(name, `speaks ${JSON.stringify(seen.protocol)}: ${seen.kinds.join(" ")}`, "frames");
      seen.turns.forEach(({ whole }, at) => {
        show(name, `> ${SAID[at]}`, "said");
        show(name, whole);
      });
    } catch (fault) {
      report.faults[name] = String(fault);
      show(name, String(fault), "wrong");
    }
  }
  report.stranger = await asStranger();
  show("a page nobody listed", Object.entries(report.stranger).map(([name, open]) => `${name}: ${open ? "let in" : "refused"}`).join("\n"));
  await fetch("/report", { method: "POST", body: JSON.stringify(report) });
}

async function stranger() {
  const answers = {};
  for (const [name, door] of Object.entries(doors)) {
    const path = name === "oxios" ? decodeURIComponent(location.hash.slice(1)) : await door.path();
    answers[name] = await opens(door, path);
  }
  parent.postMessage(answers, "*");
}

await (location.pathname === "/stranger" ? stranger() : main());
