import { randomBytes } from 'node:crypto';

/** Randomness, injected so that a simulation replays from its seed. */
export interface Random {
  /** `count` random bytes. */
  bytes(count: number): Buffer;
  /** A float in [0, 1). */
  float(): number;
}

/** The system's cryptographic randomness. */
export const systemRandom: Random = {
  bytes: (count) => randomBytes(count),
  float: () => randomBytes(4).readUInt32LE(0) / 0x1_0000_0000,
};

/** A reproducible generator (splitmix32) for tests and simulations. Not for secrets. */
export function seededRandom(seed: number): Random {
  let state = seed >>> 0;
  const next = (): number => {
    state = (state + 0x9e3779b9) >>> 0;
    let z = state;
    z = Math.imul(z ^ (z >>> 16), 0x21f0aaad);
    z = Math.imul(z ^ (z >>> 15), 0x735a2d97);
    return (z ^ (z >>> 15)) >>> 0;
  };
  return {
    bytes: (count) => {
      const out = Buffer.allocUnsafe(count);
      for (let i = 0; i < count; i++) out[i] = next() & 0xff;
      return out;
    },
    float: () => next() / 0x1_0000_0000,
  };
}
