// A question's form: from its JSON Schema to fields, and from what was filled in to answers.

import { t } from "./texts";
import type { Json } from "./types";

interface Common {
  name: string;
  label: string;
  hint?: string;
  required: boolean;
}
interface Option {
  value: string;
  label: string;
}
export type Field = Common &
  (
    | { kind: "text"; long: boolean; longest?: number }
    | { kind: "number"; whole: boolean; least?: number; most?: number }
    | { kind: "flag" }
    | { kind: "choice"; options: Option[] }
    | { kind: "choices"; options: Option[] }
  );

export type Values = Record<string, string | number | boolean | string[] | undefined | null>;

type Schema = { [key: string]: Json };

const isSchema = (value: unknown): value is Schema => typeof value === "object" && value !== null && !Array.isArray(value);
const text = (value: unknown): string | undefined => (typeof value === "string" ? value : undefined);
const figure = (value: unknown): number | undefined => (typeof value === "number" ? value : undefined);

/** The fields of a form; one for a free answer where there is no form. */
export function fields(form: Json | undefined | null): Field[] {
  const properties = isSchema(form) && isSchema(form.properties) ? form.properties : undefined;
  if (!properties || Object.keys(properties).length === 0) {
    return [{ name: "answer", label: t.question.free, required: true, kind: "text", long: true }];
  }
  const required = isSchema(form) && Array.isArray(form.required) ? form.required : [];
  return Object.entries(properties).map(([name, schema]) => field(name, isSchema(schema) ? schema : {}, required.includes(name)));
}

function field(name: string, schema: Schema, required: boolean): Field {
  const common = { name, label: text(schema.title) ?? name, hint: text(schema.description), required };
  const one = options(schema);
  if (one) return { ...common, kind: "choice", options: one };
  switch (schema.type) {
    case "boolean":
      return { ...common, kind: "flag" };
    case "integer":
    case "number":
      return { ...common, kind: "number", whole: schema.type === "integer", least: figure(schema.minimum), most: figure(schema.maximum) };
    case "array": {
      const several = isSchema(schema.items) ? options(schema.items) : undefined;
      if (several) return { ...common, kind: "choices", options: several };
    }
  }
  const longest = figure(schema.maxLength);
  return { ...common, kind: "text", long: longest === undefined || longest > 120, longest };
}

function options(schema: Schema): Option[] | undefined {
  if (Array.isArray(schema.enum)) {
    const names = Array.isArray(schema.enumNames) ? schema.enumNames : [];
    return schema.enum.map((value, at) => ({ value: JSON.stringify(value), label: text(names[at]) ?? String(value) }));
  }
  const listed = Array.isArray(schema.oneOf) ? schema.oneOf : Array.isArray(schema.anyOf) ? schema.anyOf : undefined;
  const constants = listed?.filter((option): option is Schema => isSchema(option) && "const" in option);
  if (!constants?.length) return undefined;
  return constants.map((option) => ({ value: JSON.stringify(option.const), label: text(option.title) ?? String(option.const) }));
}

/** What was filled in, as the form wants it. What is empty is left out. */
export function answers(asked: Field[], values: Values): { [name: string]: Json } {
  const given: { [name: string]: Json } = {};
  for (const { name, kind } of asked) {
    const value = values[name];
    if (kind === "flag") given[name] = value === true;
    else if (value === undefined || value === null || value === "") continue;
    else if (kind === "choice") given[name] = JSON.parse(String(value));
    else if (kind === "choices") given[name] = (value as string[]).map((one) => JSON.parse(one));
    else given[name] = value as Json;
  }
  return given;
}
