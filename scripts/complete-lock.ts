/**
 * Completes package-lock.json after `npm install`: `node scripts/complete-lock.ts`.
 *
 * A registry that mirrors only some platforms makes npm leave out the optional packages of the others, and then
 * `npm ci` refuses the lock that npm wrote. This adds them with the version that their parent names and the platform
 * that their name tells, and without a checksum, which only a registry that has them could give.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { ROOT } from './root.ts';

interface LockEntry {
  version?: string;
  dev?: boolean;
  optional?: boolean;
  os?: string[];
  cpu?: string[];
  libc?: string[];
  optionalDependencies?: Record<string, string>;
}

const LOCK = path.join(ROOT, 'package-lock.json');
/** `android-arm64`, `linux-arm-gnueabihf`, `linux-x64-musl`, at the end of a package's name. */
const PLATFORM = /(?<os>android|darwin|freebsd|linux|openharmony|win32)-(?<cpu>[a-z0-9]+)(?:-(?<abi>[a-z]+))?$/;

const lock = JSON.parse(readFileSync(LOCK, 'utf8')) as { packages: Record<string, LockEntry> };
const added: string[] = [];
for (const parent of Object.values(lock.packages)) {
  for (const [name, version] of Object.entries(parent.optionalDependencies ?? {})) {
    const place = `node_modules/${name}`;
    const platform = PLATFORM.exec(name)?.groups;
    if (place in lock.packages || platform === undefined) continue;
    lock.packages[place] = entry(version, platform, parent.dev === true);
    added.push(name);
  }
}
if (added.length > 0) {
  const byPlace = Object.entries(lock.packages).sort(([a], [b]) => (a < b ? -1 : 1));
  writeFileSync(LOCK, `${JSON.stringify({ ...lock, packages: Object.fromEntries(byPlace) }, null, 2)}\n`);
}
console.log(added.length === 0 ? 'package-lock.json is complete' : `added: ${added.join(', ')}`);

function entry(version: string, platform: Record<string, string | undefined>, isDev: boolean): LockEntry {
  const { os = '', cpu = '', abi = '' } = platform;
  const libc = abi.startsWith('musl') ? 'musl' : 'glibc';
  return {
    version,
    cpu: [cpu],
    ...(isDev ? { dev: true } : {}),
    ...(os === 'linux' ? { libc: [libc] } : {}),
    optional: true,
    os: [os],
  };
}
