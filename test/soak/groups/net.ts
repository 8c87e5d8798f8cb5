/**
 * Where members of a group live, so that the links between them can be cut: a network namespace for each, behind a router, where
 * that is allowed (root, `ip`, `iptables`); else all on the loopback address, where no link can be cut.
 */
import { execFileSync } from 'node:child_process';

/** Of the addresses `10.<any that nobody has here>.<number of the member>.1`. */
const NETWORKS_FROM = 64;
const NETWORKS = 128;

export interface Network {
  readonly canCut: boolean;
  /** Of this machine, where all members reach what listens here. */
  readonly hostAddress: string;
  addressOf(member: number): string;
  /** What is put before a command that runs as this member. */
  within(member: number): readonly string[];
  /** What `from` sends does not reach `to` any more; what is sent the other way does. */
  cut(from: number, to: number): void;
  heal(): void;
  remove(): void;
}

const quiet = (command: string, ...words: string[]): void => {
  execFileSync(command, words, { stdio: ['ignore', 'ignore', 'pipe'] });
};

const tried = (command: string, ...words: string[]): boolean => {
  try {
    quiet(command, ...words);
    return true;
  } catch {
    return false;
  }
};

/** `members` of them, numbered from 1. */
export function makeNetwork(members: number): Network {
  if (process.getuid?.() !== 0 || !tried('ip', '-V') || !tried('iptables', '-V')) return onLoopback;
  const tag = `sg${String(process.pid)}`;
  const network = freeNetwork();
  const addressOf = (member: number): string => `${network}.${String(member)}.1`;
  const all = Array.from({ length: members }, (_, i) => i + 1);
  const nameOf = (member: number): string => `${tag}-${String(member)}`;
  const remove = (): void => {
    for (const member of all) tried('ip', 'netns', 'del', nameOf(member));
  };
  try {
    for (const member of all)
      addMember(network, {
        name: nameOf(member),
        link: `${tag}v${String(member)}`,
        member,
        address: addressOf(member),
      });
    quiet('sh', '-c', 'echo 1 > /proc/sys/net/ipv4/ip_forward');
    // Proven once, by what is to be used.
    quiet('ip', 'netns', 'exec', nameOf(1), 'iptables', '-F', 'INPUT');
  } catch (error) {
    remove();
    process.stderr.write(`no network namespaces here, so no link is cut: ${String(error)}\n`);
    return onLoopback;
  }
  return {
    canCut: true,
    hostAddress: `${network}.1.254`,
    addressOf,
    within: (member) => ['ip', 'netns', 'exec', nameOf(member)],
    cut: (from, to) => {
      quiet('ip', 'netns', 'exec', nameOf(to), 'iptables', '-A', 'INPUT', '-s', addressOf(from), '-j', 'DROP');
    },
    heal: () => {
      for (const member of all) tried('ip', 'netns', 'exec', nameOf(member), 'iptables', '-F', 'INPUT');
    },
    remove,
  };
}

/** One that no other soak on this machine has: by chance, and by what is there. */
function freeNetwork(): string {
  for (let i = 0; i < NETWORKS; i++) {
    const network = `10.${String(NETWORKS_FROM + ((process.pid + i) % NETWORKS))}`;
    if (execFileSync('ip', ['-4', 'addr', 'show', 'to', `${network}.0.0/16`], { encoding: 'utf8' }) === '')
      return network;
  }
  throw new Error('no network is free');
}

interface Place {
  readonly name: string;
  readonly link: string;
  readonly member: number;
  readonly address: string;
}

function addMember(network: string, { name, link, member, address }: Place): void {
  const router = `${network}.${String(member)}.254`;
  quiet('ip', 'netns', 'add', name);
  quiet('ip', 'link', 'add', link, 'type', 'veth', 'peer', 'name', 'eth0', 'netns', name);
  quiet('ip', 'addr', 'add', `${router}/24`, 'dev', link);
  quiet('ip', 'link', 'set', link, 'up');
  quiet('ip', '-n', name, 'addr', 'add', `${address}/24`, 'dev', 'eth0');
  for (const device of ['eth0', 'lo']) quiet('ip', '-n', name, 'link', 'set', device, 'up');
  quiet('ip', '-n', name, 'route', 'add', 'default', 'via', router);
}

const onLoopback: Network = {
  canCut: false,
  hostAddress: '127.0.0.1',
  addressOf: () => '127.0.0.1',
  within: () => [],
  cut: () => {
    throw new Error('no link can be cut here');
  },
  heal: () => undefined,
  remove: () => undefined,
};
