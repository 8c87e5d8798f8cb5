/** Which objects are of one place only, so that a copy of the store does without them. */
import { keys } from '../keys.ts';

/**
 * - Lists of gc name versions of objects as this place gave them, and what they hold is found anew.
 * - Pins are of those who read this place, and probes of those who try it.
 * - How far a copy is tells only of that copy.
 */
const LEFT_OUT = /^(?:gc\/condemned\.json$|gc\/tombstones\/|pins\/|probe\/)/;

export const isLeftOut = (key: string): boolean => key === keys.copy || LEFT_OUT.test(key);
