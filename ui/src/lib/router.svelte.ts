// Which page is shown: the path and nothing else. Query and fragment are never read.

export type Page =
  | { name: "home" }
  | { name: "session"; id: string; view: "talk" | "log" }
  | { name: "waiting" }
  | { name: "live" }
  | { name: "usage" }
  | { name: "setup"; part: string }
  | { name: "signin"; code: string };

const SESSION = /^ses_[0-9a-z]{26}$/;

function read(path: string): Page {
  const [first = "", second = "", third = ""] = path.split("/").slice(1);
  if (first === "s" && SESSION.test(second)) return { name: "session", id: second, view: third === "log" ? "log" : "talk" };
  if (first === "waiting" || first === "live" || first === "usage") return { name: first };
  if (first === "setup") return { name: "setup", part: second || "agents" };
  if (first === "signin" && second) return { name: "signin", code: second };
  return { name: "home" };
}

class Router {
  page = $state<Page>(read(location.pathname));
  /** What the page that is shown calls itself, where that is not always the same. */
  title = $state("");

  constructor() {
    addEventListener("popstate", () => (this.page = read(location.pathname)));
    addEventListener("click", (event) => this.#follow(event));
  }

  go(path: string, replace = false): void {
    if (path !== location.pathname) history[replace ? "replaceState" : "pushState"](null, "", path);
    this.page = read(path);
  }

  /** Links of our own change the page without loading it again. */
  #follow(event: MouseEvent): void {
    if (event.defaultPrevented || event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
    const link = event.target instanceof Element ? event.target.closest("a") : null;
    if (!link || link.target || link.origin !== location.origin || link.hasAttribute("download")) return;
    if (link.getAttribute("href")?.startsWith("#")) return;
    event.preventDefault();
    this.go(link.pathname);
  }
}

export const router = new Router();
