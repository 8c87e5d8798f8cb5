/**
 * Builds `dist/` and `oclif.manifest.json` from `src/`. With `--if-needed`, only if a source is newer than the build.
 *
 * The compiler writes into a folder of its own, which takes the place of `dist/` when it is complete: a failed
 * build leaves the old one, and a command that runs meanwhile finds either the old files or the new ones.
 */
import {
  existsSync,
  globSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import path from 'node:path';
import { ROOT, run } from './root.ts';

const MANIFEST = path.join(ROOT, 'oclif.manifest.json');
const DIST = path.join(ROOT, 'dist');
/** Written last; its time is the start of the build, so that a source changed meanwhile is newer. */
const STAMP = path.join(DIST, '.built');
const SOURCES = ['src', 'package.json', 'package-lock.json', 'tsconfig.json', 'tsconfig.build.json'];

if (process.argv.includes('--if-needed') && isFresh()) {
  process.exitCode = 0;
} else {
  process.exitCode = build() ? 0 : 1;
}

function build(): boolean {
  const scratch = path.join(ROOT, 'node_modules', '.cache', 'sgw', `build-${String(process.pid)}`);
  const next = path.join(scratch, 'next');
  const startedAt = new Date();
  try {
    mkdirSync(next, { recursive: true });
    if (!run('tsc', ['-p', 'tsconfig.build.json', '--outDir', next]).ok) return false;
    rewriteImports(next);
    if (existsSync(DIST)) renameSync(DIST, path.join(scratch, 'old'));
    renameSync(next, DIST);
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
  const manifest = run('oclif', ['manifest'], 'pipe');
  if (!manifest.ok) {
    process.stderr.write(manifest.output);
    return false;
  }
  sortManifest();
  writeFileSync(STAMP, '');
  utimesSync(STAMP, startedAt, startedAt);
  return true;
}

/** oclif lists commands in the order in which the file system names them; the committed manifest has one order. */
function sortManifest(): void {
  const manifest = JSON.parse(readFileSync(MANIFEST, 'utf8')) as { commands: Record<string, unknown> };
  const commands = Object.fromEntries(Object.entries(manifest.commands).sort(([a], [b]) => (a < b ? -1 : 1)));
  writeFileSync(MANIFEST, `${JSON.stringify({ ...manifest, commands }, undefined, 2)}\n`);
}

/**
 * Does what the compiler's rewriteRelativeImportExtensions leaves out: `import('./x.ts')` in a function that has
 * a `using` declaration, which it emits as it stands.
 */
function rewriteImports(folder: string): void {
  for (const name of globSync('**/*.js', { cwd: folder })) {
    const file = path.join(folder, name);
    const code = readFileSync(file, 'utf8');
    const rewritten = code.replaceAll(/\bimport\((['"])(\.{1,2}\/[^'"]+)\.ts\1\)/g, 'import($1$2.js$1)');
    if (rewritten !== code) writeFileSync(file, rewritten);
  }
}

function isFresh(): boolean {
  if (!existsSync(STAMP) || !existsSync(MANIFEST)) return false;
  const builtMs = statSync(STAMP).mtimeMs;
  return SOURCES.every((source) => newestMs(path.join(ROOT, source)) <= builtMs);
}

/** The latest change at or below a path; a folder's own time tells of files that were removed. */
function newestMs(file: string): number {
  const stat = statSync(file);
  if (!stat.isDirectory()) return stat.mtimeMs;
  return Math.max(stat.mtimeMs, ...readdirSync(file).map((name) => newestMs(path.join(file, name))));
}
