/**
 * libiscsi's conformance suite, `iscsi-test-cu`, against a served volume with two portals. It counts a test that it skips as passed, so
 * tests are counted from its verbose log; what is skipped, and why, is docs/evidence/iscsi-conformance.md.
 */
import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { promisify } from 'node:util';
import { expect, it } from 'vitest';
import { HomeRig } from '../cli/gateway-rig.ts';
import { requireTool, toolPath } from '../requirements.ts';

const run = promisify(execFile);
const LOG_BYTES_MAX = 256 * 1024 * 1024;
const DOCUMENT = path.join(import.meta.dirname, '../../docs/evidence/iscsi-conformance.md');

interface Outcome {
  /** `suite.test`. */
  readonly name: string;
  readonly isSkipped: boolean;
  readonly isFailed: boolean;
}

/** The outcome of each test in a verbose log. */
function outcomes(log: string): Outcome[] {
  const found: Outcome[] = [];
  let suite = '';
  for (const part of log.split(/^(?=Suite: |\s+Test: )/m)) {
    suite = /^Suite: (?<name>\w+)/.exec(part)?.groups?.['name'] ?? suite;
    const name = /^\s+Test: (?<name>[\w-]+) \.\.\./.exec(part)?.groups?.['name'];
    if (name === undefined) continue;
    // CUnit's own word; `[FAILED]` in brackets is also told of commands that are meant to fail.
    const isFailed = /^FAILED$/m.test(part);
    found.push({ name: `${suite}.${name}`, isSkipped: part.includes('[SKIPPED]'), isFailed });
  }
  return found;
}

/** The tests that the document lists as skipped. */
function documented(): string[] {
  const rows = readFileSync(DOCUMENT, 'utf8').matchAll(/^\| `(?<name>[\w.-]+)`/gm);
  return [...rows].map(({ groups }) => groups?.['name'] ?? '').sort();
}

requireTool('iscsi-test-cu').it(
  "libiscsi's suite passes over two portals, and skips what is written",
  async () => {
    await using rig = await HomeRig.activated();
    await rig.ok('configure', '--iscsi-listen', 'tcp:127.0.0.1:0', '--iscsi-listen', 'tcp:[::1]:0');
    await rig.ok('gateway', 'start');
    await rig.ok('volume', 'create', 'disk', '--size', '1GiB');
    const { uris } = (await rig.ok('volume', 'attach', 'disk', '--protocol', 'iscsi')) as { uris: string[] };
    const places = uris.filter((uri) => uri.startsWith('iscsi:'));
    expect(places).toHaveLength(2);
    const suite = toolPath('iscsi-test-cu') ?? '';
    // Names and outcomes, and what is told of them, are on different streams.
    const words = ['-c', 'exec "$0" "$@" 2>&1', suite, '-d', '-V', '--test=ALL', ...places];
    const { stdout } = await run('sh', words, { maxBuffer: LOG_BYTES_MAX });
    const all = outcomes(stdout);
    expect(all).toHaveLength(230);
    expect(all.filter(({ isFailed }) => isFailed)).toEqual([]);
    expect(stdout).toMatch(/tests\s+230\s+230\s+230\s+0\s+0/);
    const skipped = all.filter(({ isSkipped }) => isSkipped).map(({ name }) => name);
    expect(skipped.sort()).toEqual(documented());
    expect(all.length - skipped.length).toBeGreaterThanOrEqual(190);
    await rig.ok('gateway', 'stop');
  },
  240_000,
);

it('a test that failed, and one that was skipped, are found in a log', () => {
  const log = `
Suite: Read6
  Test: Simple ...
    Test READ6
    [FAILED] READ6 command failed
FAILED
    1. test_read6_simple.c:10  - CU_FAIL("no")
  Test: BeyondEol ...    [SKIPPED] too large
passed
Suite: Read10
  Test: Simple ...
    [FAILED] as it is to be
passed
`;
  expect(outcomes(log)).toEqual([
    { name: 'Read6.Simple', isSkipped: false, isFailed: true },
    { name: 'Read6.BeyondEol', isSkipped: true, isFailed: false },
    { name: 'Read10.Simple', isSkipped: false, isFailed: false },
  ]);
});
