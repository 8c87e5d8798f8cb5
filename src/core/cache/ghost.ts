/**
 * Names of frames that were evicted after one use, or seen once: what comes back while it is remembered was used twice. A table
 * of fingerprints in which a new one takes the place of an older one, so that a name is forgotten after about as many others
 * as there are places. 4 bytes a place. A false memory (one in 2^32 or so a look) only lets a frame in too early.
 */

const FIRST_PLACES = 1024;

export class Ghost {
  #fingerprints = new Uint32Array(FIRST_PLACES);

  get memoryBytes(): number {
    return this.#fingerprints.byteLength;
  }

  /** Remembers about as many names as there are frames. What was remembered before is lost when it grows. */
  fit(frames: number): void {
    if (frames >= this.#fingerprints.length * 2) this.#fingerprints = new Uint32Array(this.#fingerprints.length * 2);
  }

  add(place: number, frame: number): void {
    this.#fingerprints[indexOf(place, frame) & (this.#fingerprints.length - 1)] = fingerprintOf(place, frame);
  }

  /** Whether the name is remembered. */
  has(place: number, frame: number): boolean {
    return this.#fingerprints[indexOf(place, frame) & (this.#fingerprints.length - 1)] === fingerprintOf(place, frame);
  }

  /** Whether the name is remembered; forgets it. */
  take(place: number, frame: number): boolean {
    if (!this.has(place, frame)) return false;
    this.#fingerprints[indexOf(place, frame) & (this.#fingerprints.length - 1)] = 0;
    return true;
  }

  clear(): void {
    this.#fingerprints.fill(0);
  }
}

function indexOf(place: number, frame: number): number {
  let hash = Math.imul(place ^ Math.imul(frame, 0x85eb_ca6b), 0x27d4_eb2f);
  hash = Math.imul(hash ^ (hash >>> 15), 0x2c1b_3c6d);
  return hash ^ (hash >>> 13);
}

/** Exact but for places above 65,535, and never 0, which is no fingerprint. */
function fingerprintOf(place: number, frame: number): number {
  return ((place << 16) ^ (place >>> 16) ^ frame) >>> 0 || 1;
}
