/** Debian packages that are downloaded and unpacked, not installed: the machine of the soak is made of them. */
import { execFile } from 'node:child_process';
import { existsSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { toolPath } from '../../requirements.ts';

/** The general kernel: that for clouds has no iscsi_tcp. */
const WANTED = ['linux-image-amd64', 'open-iscsi', 'sg3-utils', 'e2fsprogs', 'xfsprogs', 'fio', 'kmod', 'util-linux'];
const BUSYBOX = 'busybox-static';
/** Of all that these depend on, what may hold shared libraries. */
const HOLDS_LIBRARIES = /^(?:lib(?!perl|python)|zlib)/;
const KERNEL = 'linux-image-';
const TOOLS: Readonly<Record<string, string>> = {
  'qemu-system-x86_64': 'qemu-system-x86',
  'apt-get': 'apt',
  'dpkg-deb': 'dpkg',
};
const OUTPUT_BYTES_MAX = 16 << 20;

const execute = promisify(execFile);

/** Standard output of a program that ends with 0. @throws Error with what it said */
export async function call(program: string, words: readonly string[], cwd?: string): Promise<string> {
  try {
    const { stdout } = await execute(program, words, { cwd, maxBuffer: OUTPUT_BYTES_MAX, encoding: 'utf8' });
    return stdout;
  } catch (error) {
    const said = error instanceof Error && 'stderr' in error ? String(error.stderr) : '';
    throw new Error(`${program} ${words.slice(0, 4).join(' ')}: ${said}`, { cause: error });
  }
}

/** @throws Error: a program is missing; which package has it */
export function requireTools(): void {
  const missing = Object.keys(TOOLS).filter((tool) => toolPath(tool) === undefined);
  if (missing.length === 0) return;
  const packages = missing.map((tool) => TOOLS[tool]).join(' ');
  throw new Error(`${missing.join(', ')} not installed: apt-get install ${packages}, on Debian 12 or later, amd64`);
}

/**
 * Downloads the packages, and unpacks them below `root`. Those that are in `cache` in this version are not downloaded again.
 * @throws Error when apt does not know or get them
 */
export async function unpackPackages(cache: string, root: string): Promise<void> {
  mkdirSync(cache, { recursive: true });
  mkdirSync(root, { recursive: true });
  const packages = await resolvePackages();
  const missing = packages.filter(({ file }) => !existsSync(join(cache, file)));
  if (missing.length > 0)
    await call('apt-get', ['download', '-qq', ...missing.map(({ name, version }) => `${name}=${version}`)], cache);
  for (const { file } of packages) await call('dpkg-deb', ['-x', join(cache, file), root]);
}

interface Package {
  readonly name: string;
  readonly version: string;
  /** As apt names it. */
  readonly file: string;
}

/** What would be installed where nothing is, without what no program here needs. */
async function resolvePackages(): Promise<readonly Package[]> {
  const nothing = ['-o', 'Dir::State::status=/dev/null', '--no-install-recommends', '-qq', '--simulate'];
  const plan = await call('apt-get', [...nothing, 'install', ...WANTED, BUSYBOX]).catch((error: unknown) => {
    throw new Error('apt does not know the packages: is `apt-get update` needed?', { cause: error });
  });
  return [...plan.matchAll(/^Inst (\S+) \((\S+) .*?\[(\w+)\]\)/gm)]
    .map(([, name = '', version = '', arch = '']) => ({
      name,
      version,
      file: `${name}_${version.replaceAll(':', '%3a')}_${arch}.deb`,
    }))
    .filter(
      ({ name }) => name === BUSYBOX || WANTED.includes(name) || HOLDS_LIBRARIES.test(name) || name.startsWith(KERNEL),
    );
}
