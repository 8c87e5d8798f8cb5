/** bin/run.js, which must also answer under a Node.js that is too old to run sgw. */
import { spawn, spawnSync, type SpawnSyncReturns } from 'node:child_process';
import { once } from 'node:events';
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

const ROOT = path.resolve(import.meta.dirname, '../..');
const { version } = JSON.parse(readFileSync(path.join(ROOT, 'package.json'), 'utf8')) as { version: string };

let copy: string;

/** A package with nothing but the entry point; what stands for the built CLI is given as code. */
beforeEach(() => {
  copy = mkdtempSync(path.join(os.tmpdir(), 'sgw-entry-'));
  mkdirSync(path.join(copy, 'bin'));
  for (const name of ['package.json', 'bin/run.js']) cpSync(path.join(ROOT, name), path.join(copy, name));
});

afterEach(() => {
  rmSync(copy, { recursive: true, force: true });
});

function build(main: string): void {
  mkdirSync(path.join(copy, 'dist/core/cli'), { recursive: true });
  writeFileSync(path.join(copy, 'dist/core/cli/main.js'), `export async function main({ argv }) { ${main} }`);
}

/** Makes the entry point take this Node.js for version 20: what stands before `import` cannot be loaded otherwise. */
function asOldNode(): string[] {
  const preload = path.join(copy, 'old.mjs');
  const code = `if (process.execPath === ${JSON.stringify(process.execPath)} && process.argv0 !== 'new')
    Object.defineProperty(process, 'versions', { value: { ...process.versions, node: '20.19.0' } });`;
  writeFileSync(preload, code);
  return ['--import', preload];
}

/** Puts a Node.js into the package's node_modules: a program that starts this one under another name. */
function installNode(): void {
  const folder = path.join(copy, 'node_modules/node/bin');
  mkdirSync(folder, { recursive: true });
  const script = `#!/bin/bash\nexec -a new ${JSON.stringify(process.execPath)} "$@"\n`;
  writeFileSync(path.join(folder, 'node'), script, { mode: 0o755 });
}

function run(nodeOptions: readonly string[], ...argv: readonly string[]): SpawnSyncReturns<string> {
  const home = { XDG_CACHE_HOME: path.join(copy, 'cache') };
  return spawnSync(process.execPath, [...nodeOptions, path.join(copy, 'bin/run.js'), ...argv], {
    encoding: 'utf8',
    env: { ...process.env, ...home },
  });
}

describe('bin/run.js', () => {
  it('answers --version without the built CLI', () => {
    const ran = run([], '--version');
    expect(ran.stdout).toMatch(new RegExp(`^sgw/${version} `));
    expect(ran.status).toBe(0);
  });

  it('answers --version as JSON', () => {
    expect(JSON.parse(run([], '--version', '--json').stdout)).toMatchObject({ version });
  });

  it('answers --version under an old Node.js', () => {
    expect(run(asOldNode(), '--version').status).toBe(0);
  });

  it('is a link that works', () => {
    build('console.log(argv.join())');
    symlinkSync('bin/run.js', path.join(copy, 'sgw'));
    const ran = spawnSync(process.execPath, [path.join(copy, 'sgw'), 'a', 'b'], { encoding: 'utf8' });
    expect(ran.stdout).toBe('a,b\n');
  });

  it('says that it is not built', () => {
    const ran = run([], 'status');
    expect(ran.stderr).toContain('npm run build');
    expect(ran.stdout).toBe('');
    expect(ran.status).toBe(2);
  });

  it('reports with --json as a document', () => {
    const ran = run([], 'status', '--json');
    expect(JSON.parse(ran.stdout)).toMatchObject({ error: { code: 'not-built', kind: 'invalid', retryable: false } });
    expect(ran.status).toBe(2);
  });

  it('says what to install when the Node.js is too old and there is no other', () => {
    build('');
    const ran = run(asOldNode(), 'status');
    expect(ran.stderr).toContain('needs Node.js 22.22 or newer, and this is 20.19.0');
    expect(ran.status).toBe(2);
  });

  it('hands over to the Node.js in node_modules, with arguments and exit code', () => {
    build('console.log(process.argv0, argv.join()); process.exitCode = 7;');
    installNode();
    const ran = run(asOldNode(), 'volume', 'list');
    expect(ran.stdout).toBe('new volume,list\n');
    expect(ran.status).toBe(7);
  });

  it('ends by the signal that ended what it handed over to', () => {
    build("process.kill(process.pid, 'SIGKILL'); await new Promise(() => setInterval(() => undefined, 1000));");
    installNode();
    expect(run(asOldNode(), 'status').signal).toBe('SIGKILL');
  });

  it('forwards SIGINT once to what it handed over to', async () => {
    build(`let count = 0;
      process.on('SIGINT', () => { count += 1; setTimeout(() => { console.log(count); process.exit(130); }, 100); });
      console.log('ready');
      await new Promise(() => setInterval(() => undefined, 1000));`);
    installNode();
    const child = spawn(process.execPath, [...asOldNode(), path.join(copy, 'bin/run.js'), 'status'], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    let told = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      told += text;
      if (text.includes('ready')) child.kill('SIGINT');
    });
    const [code] = (await once(child, 'close')) as [number];
    expect(told).toBe('ready\n1\n');
    expect(code).toBe(130);
  });

  it.each([
    ['this Node.js', false],
    ['an old Node.js', true],
  ])('a signal to the process group, while the CLI loads under %s, is one error document', async (_title, isOld) => {
    mkdirSync(path.join(copy, 'dist/core/cli'), { recursive: true });
    writeFileSync(
      path.join(copy, 'dist/core/cli/main.js'),
      "console.error('loading'); await new Promise((resolve) => setTimeout(resolve, 60_000)); export const main = 1;",
    );
    if (isOld) installNode();
    const nodeOptions = isOld ? asOldNode() : [];
    const child = spawn(process.execPath, [...nodeOptions, path.join(copy, 'bin/run.js'), 'status', '--json'], {
      stdio: ['ignore', 'pipe', 'pipe'],
      detached: true,
    });
    let told = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => (told += text));
    child.stderr.once('data', () => process.kill(-(child.pid ?? 0), 'SIGINT'));
    const [code] = (await once(child, 'close')) as [number];
    expect(JSON.parse(told)).toMatchObject({ error: { code: 'interrupted', kind: 'aborted', retryable: true } });
    expect(code).toBe(130);
  });

  it('reports an interrupt for what it handed over to, if that could not', async () => {
    build(
      "process.removeAllListeners('SIGTERM'); process.kill(process.pid, 'SIGTERM'); await new Promise(() => setInterval(() => undefined, 1000));",
    );
    installNode();
    const ran = run(asOldNode(), 'status', '--json');
    expect(JSON.parse(ran.stdout)).toMatchObject({ error: { code: 'interrupted', details: { signal: 'SIGTERM' } } });
    expect(ran.status).toBe(130);
  });

  it.each(['', 'here'])('a HOME of %j counts as none', (home) => {
    build('console.log(process.env.HOME)');
    const ran = spawnSync(process.execPath, [path.join(copy, 'bin/run.js'), 'status'], {
      encoding: 'utf8',
      cwd: copy,
      env: { PATH: process.env['PATH'], HOME: home },
    });
    expect(ran.stdout).toBe(`${os.userInfo().homedir}\n`);
  });

  it('works when the compile cache cannot be written', () => {
    build('console.log("ran")');
    writeFileSync(path.join(copy, 'cache'), 'a file, not a folder');
    expect(run([], 'status').stdout).toBe('ran\n');
  });
});
