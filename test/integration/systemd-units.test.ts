/** The units of deploy/: systemd takes them without a word, and they start sgw by flags that it has. */
import { execFile } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { describe, expect, it as always } from 'vitest';
import { requireTool } from '../requirements.ts';
import { ROOT } from '../cli/run-verb.ts';

const { it } = requireTool('systemd-analyze');
const run = promisify(execFile);
const FOLDER = path.join(ROOT, 'deploy');
const UNITS = readdirSync(FOLDER).filter((name) => name.endsWith('.service'));
const PROGRAM = '/usr/local/bin/sgw';

describe.each(UNITS)('%s', (name) => {
  const text = readFileSync(path.join(FOLDER, name), 'utf8');

  it('is a unit that systemd has nothing to say of', async () => {
    const folder = mkdtempSync(path.join(os.tmpdir(), 'sgw-units-'));
    try {
      const file = path.join(folder, name);
      // Where sgw is on this machine: else that is all that it says.
      writeFileSync(file, text.replaceAll(PROGRAM, process.execPath));
      const { stdout, stderr } = await run('systemd-analyze', ['verify', '--man=no', file], { timeout: 60_000 });
      expect(stdout + stderr).toBe('');
      writeFileSync(file, text.replaceAll(PROGRAM, process.execPath).replace('[Service]', '[Service]\nNoSuchKey=1'));
      const broken = await run('systemd-analyze', ['verify', '--man=no', file], { timeout: 60_000 });
      expect(broken.stderr).toContain('NoSuchKey');
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  });

  always('starts a verb with flags that it has', () => {
    const { commands } = JSON.parse(readFileSync(path.join(ROOT, 'oclif.manifest.json'), 'utf8')) as {
      readonly commands: Readonly<Record<string, { readonly flags: object }>>;
    };
    const lines = text.split('\n').filter((line) => /^Exec\w+=/.test(line) && line.includes(PROGRAM));
    expect(lines.length).toBeGreaterThan(0);
    for (const line of lines) {
      const words = line
        .slice(line.indexOf(PROGRAM) + PROGRAM.length)
        .trim()
        .split(/\s+/);
      const flags = words.filter((word) => word.startsWith('--')).map((word) => word.slice(2).split('=')[0]);
      const verb = commands[`${words[0] ?? ''}:${words[1] ?? ''}`];
      expect(Object.keys(verb?.flags ?? {}), line).toEqual(expect.arrayContaining(flags));
    }
  });
});
