/** The built `sgw`, run as a user would: one process a command, with a home and a store of its own. */
import { mkdirSync } from 'node:fs';
import path from 'node:path';
import { call, type Call } from './programs.ts';

const ENTRY = path.join(path.dirname(import.meta.dirname), 'bin', 'run.js');

export class Subject {
  readonly home: string;
  readonly store: string;

  readonly name: string;

  /** Activates a gateway in a new folder, over a store there or one that others use too. */
  constructor(
    folder: string,
    mode: 'cached' | 'shadowing' = 'cached',
    { name = 'bench', store = path.join(folder, 'store') }: { readonly name?: string; readonly store?: string } = {},
  ) {
    mkdirSync(folder, { recursive: true });
    this.home = path.join(folder, 'home');
    this.store = store;
    this.name = name;
    call(this.does('activate', '--name', name, '--mode', mode, '--store', this.store));
  }

  /** A command of this gateway, to be timed or called. */
  does(...args: readonly string[]): Call {
    return {
      argv: [process.execPath, ENTRY, ...args],
      env: { SGW_HOME: this.home, SGW_CONFIG_DIR: path.join(this.home, 'config'), SGW_NO_INPUT: '1' },
    };
  }
}
