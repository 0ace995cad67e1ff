// Light, dark, or as the system has it.

export type Theme = "system" | "light" | "dark";

const KEY = "theme";

class Look {
  theme = $state<Theme>("system");

  constructor() {
    const kept = localStorage.getItem(KEY);
    if (kept === "light" || kept === "dark") this.set(kept);
  }

  set(theme: Theme): void {
    this.theme = theme;
    if (theme === "system") {
      localStorage.removeItem(KEY);
      delete document.documentElement.dataset.theme;
    } else {
      localStorage.setItem(KEY, theme);
      document.documentElement.dataset.theme = theme;
    }
  }

  next(): void {
    this.set(this.theme === "system" ? "light" : this.theme === "light" ? "dark" : "system");
  }
}

export const look = new Look();
