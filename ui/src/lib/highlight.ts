// Colours for code, loaded when there is code. The result is a tree, shown as elements, never HTML.

import bash from "highlight.js/lib/languages/bash";
import c from "highlight.js/lib/languages/c";
import cpp from "highlight.js/lib/languages/cpp";
import css from "highlight.js/lib/languages/css";
import diff from "highlight.js/lib/languages/diff";
import go from "highlight.js/lib/languages/go";
import ini from "highlight.js/lib/languages/ini";
import java from "highlight.js/lib/languages/java";
import javascript from "highlight.js/lib/languages/javascript";
import json from "highlight.js/lib/languages/json";
import python from "highlight.js/lib/languages/python";
import rust from "highlight.js/lib/languages/rust";
import sql from "highlight.js/lib/languages/sql";
import typescript from "highlight.js/lib/languages/typescript";
import xml from "highlight.js/lib/languages/xml";
import yaml from "highlight.js/lib/languages/yaml";
import { createLowlight } from "lowlight";

export interface Leaf {
  text: string;
  className: string;
}

const known = createLowlight({ bash, c, cpp, css, diff, go, ini, java, javascript, json, python, rust, sql, typescript, xml, yaml });
known.registerAlias({ bash: ["sh", "shell", "zsh", "console"], ini: ["toml"], javascript: ["js", "jsx"], typescript: ["ts", "tsx"], python: ["py"], rust: ["rs"], xml: ["html", "svg"], yaml: ["yml"] });

/** The text in coloured pieces; nothing where the language is not known. */
export function colour(text: string, language: string): Leaf[] | undefined {
  if (!known.registered(language)) return undefined;
  const leaves: Leaf[] = [];
  type Node = ReturnType<typeof known.highlight>["children"][number];
  const walk = (nodes: Node[], className: string): void => {
    for (const node of nodes) {
      if (node.type === "text") leaves.push({ text: node.value, className });
      if (node.type === "element") walk(node.children as Node[], [node.properties.className ?? []].flat().join(" "));
    }
  };
  walk(known.highlight(language, text).children, "");
  return leaves;
}
