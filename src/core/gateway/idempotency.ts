/**
 * What the verbs that create do when the thing is there already: by name with `--if-not-exists`, or by client token.
 */
import { SgwError } from '../kit/index.ts';
import type { Tags } from '../localapi/index.ts';

export interface CreateRequest {
  readonly name: string;
  readonly ifNotExists: boolean;
  readonly clientToken: string | undefined;
}

interface Existing {
  readonly name: string;
  readonly clientToken: string | null;
}

/** Pairs of a parameter's name and whether the existing thing has it as asked. */
export type Agreement = readonly (readonly [parameter: string, agrees: boolean])[];

/**
 * The existing thing that answers the request, or undefined when a new one is to be made.
 * @throws conflict `<kind>-exists` when the name is taken; `client-token-reused` when the token made something else;
 * `different-parameters` naming those that differ
 */
export function findExisting<T extends Existing>(
  kind: 'volume' | 'snapshot',
  request: CreateRequest,
  entries: readonly T[],
  compare: (entry: T) => Agreement,
): T | undefined {
  const made =
    request.clientToken === undefined ? undefined : entries.find((entry) => entry.clientToken === request.clientToken);
  if (made !== undefined) {
    const differing = differences([['name', made.name === request.name], ...compare(made)]);
    if (differing.length === 0) return made;
    throw new SgwError(
      'conflict',
      'client-token-reused',
      `the client token was used for ${kind} "${made.name}" with another ${differing.join(', ')}`,
      {
        hint: 'Use a new token for a new request.',
        details: { name: made.name, differing },
      },
    );
  }
  const named = entries.find((entry) => entry.name === request.name);
  if (named === undefined) return undefined;
  if (!request.ifNotExists)
    throw nameTaken(kind, request.name, `Choose another name, or add --if-not-exists to take the existing ${kind}.`);
  const differing = differences(compare(named));
  if (differing.length === 0) return named;
  throw new SgwError(
    'conflict',
    'different-parameters',
    `${kind} "${named.name}" exists with another ${differing.join(', ')}`,
    {
      hint: 'Choose another name, or ask for what exists.',
      details: { name: named.name, differing },
    },
  );
}

/** @throws conflict `<kind>-exists` unless `name` is free, or belongs to the thing itself */
export function requireFreeName(
  kind: 'volume' | 'snapshot',
  name: string,
  entries: readonly { readonly name: string }[],
  hint = 'Choose another name.',
): void {
  if (entries.some((entry) => entry.name === name)) throw nameTaken(kind, name, hint);
}

/** Whether the tags asked for, if any, are those that are there. */
export function sameTags(asked: Tags | undefined, present: Tags): boolean {
  if (asked === undefined) return true;
  const keys = Object.keys(asked);
  return keys.length === Object.keys(present).length && keys.every((key) => asked[key] === present[key]);
}

const differences = (agreement: Agreement): string[] =>
  agreement.filter(([, agrees]) => !agrees).map(([parameter]) => parameter);

function nameTaken(kind: string, name: string, hint: string): SgwError {
  return new SgwError('conflict', `${kind}-exists`, `a ${kind} named "${name}" exists already`, {
    hint,
    details: { name },
  });
}
