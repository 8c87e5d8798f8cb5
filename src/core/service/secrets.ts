/** Hashes of secrets, and comparing them in constant time. */
import { createHash, timingSafeEqual } from 'node:crypto';

/** SHA-256, hex. Enough for secrets of 125 random bits; never for a passphrase. */
export const hashOf = (secret: string): string => createHash('sha256').update(secret, 'utf8').digest('hex');

/** Whether two texts are the same, in a time that tells nothing of where they differ. */
export function isSame(a: string, b: string): boolean {
  const digest = (text: string): Buffer => createHash('sha256').update(text, 'utf8').digest();
  return timingSafeEqual(digest(a), digest(b));
}
