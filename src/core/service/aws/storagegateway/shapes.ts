/**
 * Holds what was sent against the shapes of the published model: members that must be there, types, lengths, ranges, patterns.
 * What the model does not know is left out of the result, as AWS does.
 */
import { SgwError } from '../../../kit/index.ts';
import { SHAPES } from './model-shapes.ts';
import type { Shape } from './shape.ts';

/** A list that the model does not bound has at most so many. */
const LIST_MAX = 1000;
const VALUE_SHOWN_CHARACTERS = 128;
const patterns = new Map<string, RegExp>();

/** What is wrong with a value, as AWS words it. */
export class ValidationError extends SgwError {
  constructor(message: string) {
    super('invalid', 'aws-validation', message);
  }
}

/** The value sent did not have the type that the model gives it. */
export class SerializationError extends SgwError {
  constructor(message: string) {
    super('invalid', 'aws-serialization', message);
  }
}

/** @throws ValidationError; SerializationError */
export function checkShape(name: string, value: unknown, at = ''): unknown {
  const shape = SHAPES[name];
  if (shape === undefined) throw new SgwError('internal', 'assertion', `the model has no shape ${name}`);
  switch (shape.type) {
    case 'structure':
      return checkStructure(shape, value, at);
    case 'list':
      return checkList(shape, value, at);
    case 'string':
      return checkText(shape, value, at);
    case 'integer':
    case 'long':
      return checkNumber(shape, value, at);
    case 'boolean':
      if (typeof value !== 'boolean') throw wrongType(at, 'a boolean');
      return value;
    default:
      throw new SgwError('internal', 'assertion', `inputs have no ${shape.type}`);
  }
}

function checkStructure(
  { members = {}, required = [] }: Shape,
  value: unknown,
  at: string,
): Readonly<Record<string, unknown>> {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw wrongType(at, 'a structure');
  const sent = new Map<string, unknown>(Object.entries(value));
  const checked: [string, unknown][] = [];
  for (const [key, shape] of Object.entries(members)) {
    const place = at === '' ? lowerFirst(key) : `${at}.member.${lowerFirst(key)}`;
    const one = sent.get(key) ?? null;
    if (one !== null) checked.push([key, checkShape(shape, one, place)]);
    else if (required.includes(key)) throw failed(null, place, 'Member must not be null');
  }
  return Object.fromEntries(checked);
}

function checkList(shape: Shape, value: unknown, at: string): readonly unknown[] {
  if (!Array.isArray(value)) throw wrongType(at, 'a list');
  checkLength(shape.min, shape.max ?? LIST_MAX, value.length, '[...]', at);
  return value.map((one: unknown, i) => {
    const place = `${at}.${String(i + 1)}`;
    if (one === null) throw failed(null, place, 'Member must not be null');
    return checkShape(shape.member ?? '', one, place);
  });
}

function checkText({ min, max, pattern, values }: Shape, value: unknown, at: string): string {
  if (typeof value !== 'string') throw wrongType(at, 'a string');
  checkLength(min, max, [...value].length, value, at);
  if (pattern !== undefined && !expression(pattern).test(value))
    throw failed(value, at, `Member must satisfy regular expression pattern: ${pattern}`);
  if (values !== undefined && !values.includes(value))
    throw failed(value, at, `Member must satisfy enum value set: [${values.join(', ')}]`);
  return value;
}

function checkNumber({ min, max }: Shape, value: unknown, at: string): number {
  if (typeof value !== 'number' || !Number.isSafeInteger(value)) throw wrongType(at, 'an integer');
  if (min !== undefined && value < min)
    throw failed(String(value), at, `Member must have value greater than or equal to ${String(min)}`);
  if (max !== undefined && value > max)
    throw failed(String(value), at, `Member must have value less than or equal to ${String(max)}`);
  return value;
}

function checkLength(
  min: number | undefined,
  max: number | undefined,
  length: number,
  shown: string,
  at: string,
): void {
  if (min !== undefined && length < min)
    throw failed(shown, at, `Member must have length greater than or equal to ${String(min)}`);
  if (max !== undefined && length > max)
    throw failed(shown, at, `Member must have length less than or equal to ${String(max)}`);
}

function expression(pattern: string): RegExp {
  const known = patterns.get(pattern) ?? new RegExp(pattern, 'u');
  patterns.set(pattern, known);
  return known;
}

/** A secret is not shown. */
function failed(value: string | null, at: string, constraint: string): ValidationError {
  const isSecret = /secret/i.test(at);
  const shown = value === null ? 'null' : isSecret ? "'***'" : `'${value.slice(0, VALUE_SHOWN_CHARACTERS)}'`;
  return new ValidationError(
    `1 validation error detected: Value ${shown} at '${at}' failed to satisfy constraint: ${constraint}`,
  );
}

const wrongType = (at: string, what: string): SerializationError =>
  new SerializationError(`${at === '' ? 'the request' : at} is not ${what}`);

const lowerFirst = (name: string): string => name.charAt(0).toLowerCase() + name.slice(1);
