/** What every benchmark is given. */
import { mkdirSync, rmSync } from 'node:fs';
import path from 'node:path';

export interface Settings {
  /** Where images, stores and outputs go; all on one disk. */
  readonly folder: string;
  readonly rounds: number;
  /** False to time the peers alone. */
  readonly withSubject: boolean;
}

/** A folder of its own for one benchmark, removed when disposed. */
export function workFolder(settings: Settings, name: string): Disposable & { readonly path: string } {
  const place = path.join(settings.folder, `${name}-${String(process.pid)}`);
  mkdirSync(place, { recursive: true });
  return {
    path: place,
    [Symbol.dispose]: () => {
      rmSync(place, { recursive: true, force: true });
    },
  };
}
