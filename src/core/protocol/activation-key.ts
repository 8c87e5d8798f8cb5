/**
 * The activation key, as people read it from a page and type it: five groups of five of 32 letters and digits, 125 random
 * bits. Letters that look like others (I, L, O, U) are not in it.
 */
import type { Random } from '../kit/index.ts';

const ALPHABET = '0123456789ABCDEFGHJKMNPQRSTVWXYZ';
const GROUPS = 5;
const GROUP_LENGTH = 5;
const LENGTH = GROUPS * GROUP_LENGTH;

export function newActivationKey(random: Random): string {
  // 256 is a multiple of 32, so that every character is as likely as another.
  return inGroups([...random.bytes(LENGTH)].map((byte) => ALPHABET[byte % ALPHABET.length] ?? '').join(''));
}

/** A key as it was typed, in the form that it was given; undefined when it can be none. */
export function readActivationKey(typed: string): string | undefined {
  const characters = typed.toUpperCase().replaceAll(/[\s-]/g, '').replaceAll('O', '0').replaceAll(/[IL]/g, '1');
  if (characters.length !== LENGTH || [...characters].some((character) => !ALPHABET.includes(character))) {
    return undefined;
  }
  return inGroups(characters);
}

const inGroups = (characters: string): string =>
  Array.from({ length: GROUPS }, (_, group) => characters.slice(group * GROUP_LENGTH, (group + 1) * GROUP_LENGTH)).join(
    '-',
  );
