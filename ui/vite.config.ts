import { existsSync, readFileSync } from "node:fs";

import { svelte } from "@sveltejs/vite-plugin-svelte";
import { defineConfig, type Plugin } from "vite";

/** What others wrote and is part of the page goes with its licence. */
function licences(): Plugin {
  const packages = new Set<string>();
  const text = (name: string) => {
    const places = ["LICENSE", "LICENSE.md", "license", "LICENCE"].map((file) => `node_modules/${name}/${file}`);
    const found = places.find((place) => existsSync(place));
    if (!found) throw new Error(`${name} has no licence`);
    return `${name}\n\n${readFileSync(found, "utf8").trim()}\n`;
  };
  return {
    name: "licences",
    generateBundle(_, bundle) {
      for (const chunk of Object.values(bundle)) {
        const modules = chunk.type === "chunk" ? Object.keys(chunk.modules) : [];
        for (const id of modules) {
          const name = /node_modules\/((?:@[^/]+\/)?[^/]+)\//.exec(id)?.[1];
          if (name) packages.add(name);
        }
      }
      const source = [...packages].sort().map(text).join(`\n${"-".repeat(80)}\n\n`);
      this.emitFile({ type: "asset", name: "licences.txt", source });
    },
  };
}

export default defineConfig({
  plugins: [svelte(), licences()],
  build: {
    target: "es2022",
    // Everything is a file of its own: the policy of the page allows no inline anything.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    rollupOptions: {
      output: {
        entryFileNames: "assets/[name]-[hash].js",
        chunkFileNames: "assets/[name]-[hash].js",
        assetFileNames: "assets/[name]-[hash][extname]",
      },
    },
  },
});
