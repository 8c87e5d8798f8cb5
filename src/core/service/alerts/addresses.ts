/** Which addresses a webhook may be at: those of the public internet, so that no alert makes the service ask its own network. */
import { BlockList, isIP } from 'node:net';

const V4_NOT_PUBLIC = [
  '0.0.0.0/8',
  '10.0.0.0/8',
  '100.64.0.0/10',
  '127.0.0.0/8',
  '169.254.0.0/16',
  '172.16.0.0/12',
  '192.0.0.0/24',
  '192.0.2.0/24',
  '192.88.99.0/24',
  '192.168.0.0/16',
  '198.18.0.0/15',
  '198.51.100.0/24',
  '203.0.113.0/24',
  '224.0.0.0/4',
  '240.0.0.0/4',
] as const;

/** Inside 2000::/3: special purposes and Teredo, documentation, 6to4 (which holds any IPv4 address). */
const V6_NOT_PUBLIC = ['2001::/23', '2001:db8::/32', '2002::/16', '3fff::/20'] as const;

function listOf(networks: readonly string[], family: 'ipv4' | 'ipv6'): BlockList {
  const list = new BlockList();
  for (const network of networks) {
    const [address = '', bits = ''] = network.split('/');
    list.addSubnet(address, Number(bits), family);
  }
  return list;
}

const notPublicV4 = listOf(V4_NOT_PUBLIC, 'ipv4');
const notPublicV6 = listOf(V6_NOT_PUBLIC, 'ipv6');
/** All of IPv6 that is given out as global unicast. What maps or embeds IPv4 is outside. */
const globalV6 = listOf(['2000::/3'], 'ipv6');

/** Whether `address` is an address of the public internet, in whatever notation. */
export function isPublicAddress(address: string): boolean {
  const family = isIP(address);
  if (family === 4) return !notPublicV4.check(address, 'ipv4');
  if (family !== 6 || address.includes('%')) return false;
  return globalV6.check(address, 'ipv6') && !notPublicV6.check(address, 'ipv6');
}
