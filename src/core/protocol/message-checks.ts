/**
 * What messages that came as JSON are checked with, field by field: a message of a known kind has what its type says. Fields that
 * are not known are left alone, so that a later version may add some.
 */
import { parseShallowJson } from '../kit/index.ts';

export type Check = (value: unknown) => boolean;
export type Checks = Readonly<Record<string, Check>>;
type JsonObject = Readonly<Record<string, unknown>>;

export const isJsonObject = (value: unknown): value is JsonObject =>
  typeof value === 'object' && value !== null && !Array.isArray(value);
export const textOf =
  (lengthMax: number): Check =>
  (value) =>
    typeof value === 'string' && value.length <= lengthMax;
export const isCount: Check = (value) => Number.isSafeInteger(value) && (value as number) >= 0;
export const isAmount: Check = (value) => typeof value === 'number' && Number.isFinite(value) && value >= 0;
export const isFlag: Check = (value) => typeof value === 'boolean';
export const orNull =
  (check: Check): Check =>
  (value) =>
    value === null || check(value);
export const listOf =
  (check: Check, countMax: number): Check =>
  (value) =>
    Array.isArray(value) && value.length <= countMax && value.every(check);
export const objectOf =
  (checks: Checks): Check =>
  (value) =>
    isJsonObject(value) && isAsChecked(value, checks);

const isAsChecked = (value: JsonObject, checks: Checks): boolean =>
  Object.entries(checks).every(([name, check]) => check(value[name]));

/** The object that a text is, as far as messages may be nested; undefined when it is none. */
export function parseMessage(text: string): JsonObject | undefined {
  try {
    const value = parseShallowJson(text);
    return isJsonObject(value) ? value : undefined;
  } catch {
    return undefined;
  }
}

/** Whether a message is of a kind of `table`, and has what that asks for. */
export function isOfKind(table: Readonly<Record<string, Checks>>, message: JsonObject): boolean {
  const { kind } = message;
  if (typeof kind !== 'string' || !Object.hasOwn(table, kind)) return false;
  const checks = table[kind];
  return checks !== undefined && isAsChecked(message, checks);
}
