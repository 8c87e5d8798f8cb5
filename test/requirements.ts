/**
 * What a test needs from the machine beyond Node.js. A test whose tool is missing is skipped with the reason in
 * its name and on stderr; with SGW_REQUIRE_TOOLS=1, as in CI, it fails instead.
 */
import { accessSync, constants } from 'node:fs';
import { delimiter, join } from 'node:path';
import { describe, it } from 'vitest';

type Body = () => void | Promise<void>;

/** `describe` and `it` for tests with a requirement, and whether it is met. */
export interface Requirement {
  readonly met: boolean;
  readonly describe: (name: string, body: () => void) => void;
  readonly it: (name: string, body: Body, timeoutMs?: number) => void;
}

/** Programs of the superuser's folders are needed too, and not in every user's PATH. */
const EXTRA_FOLDERS = ['/usr/local/sbin', '/usr/sbin', '/sbin'];
const told = new Set<string>();

/** The absolute path of a program, or undefined when it is not installed. */
export function toolPath(name: string): string | undefined {
  const folders = [...(process.env['PATH'] ?? '').split(delimiter), ...EXTRA_FOLDERS];
  return folders.map((folder) => join(folder, name)).find(isExecutable);
}

/** For tests that run the program `name`. */
export function requireTool(name: string): Requirement {
  return requireThat(toolPath(name) !== undefined, `the program ${name} is not installed`);
}

/** For tests that need `condition` of the machine; `reason` says what is missing when it is false. */
export function requireThat(condition: boolean, reason: string): Requirement {
  if (condition) {
    return {
      met: true,
      describe: (name, body) => {
        describe(name, body);
      },
      it: (name, body, timeoutMs) => {
        it(name, body, timeoutMs);
      },
    };
  }
  return process.env['SGW_REQUIRE_TOOLS'] === '1' ? failing(reason) : skipping(reason);
}

function failing(reason: string): Requirement {
  const fail = (): never => {
    throw new Error(`${reason}, and SGW_REQUIRE_TOOLS=1 asks for it`);
  };
  return {
    met: false,
    describe: (name) => {
      describe(name, () => {
        it('has what it needs', fail);
      });
    },
    it: (name) => {
      it(name, fail);
    },
  };
}

function skipping(reason: string): Requirement {
  if (!told.has(reason)) process.stderr.write(`skipping tests: ${reason}\n`);
  told.add(reason);
  return {
    met: false,
    describe: (name, body) => {
      describe.skip(`${name} (skipped: ${reason})`, body);
    },
    it: (name, body) => {
      it.skip(`${name} (skipped: ${reason})`, body);
    },
  };
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
