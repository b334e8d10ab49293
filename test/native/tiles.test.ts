/** Why AMX's tiles are not used: what runtime/contract/amx.cpu.h makes of a processor and a system that play parts. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { root } from '../../toolchain/folders.mjs';
import { compileFor, host } from '../kernels/driver.ts';

const folder = mkdtempSync(join(tmpdir(), 'skv-tiles-'));
process.on('exit', () => rmSync(folder, { recursive: true, force: true }));

const text = `#include <cpuid.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>
static unsigned has;
static long answer;
#define __get_cpuid_count(leaf, sub, a, b, c, d) ((void)(a), (void)(b), (void)(c), *(d) = has, 1)
#define syscall(...) answer
#include "amx.cpu.h"
int main(int, char** args) {
  has = strtoul(args[1], nullptr, 0);
  answer = atol(args[2]);
  const char* why = skv_tiles_refused(SKV_TILES_OF_BYTES, atoi(args[3]));
  printf("%d %s", skv_has_tiles(SKV_TILES_OF_BYTES), why ? why : "-");
}
`;

(process.arch === 'x64' && process.platform === 'linux' ? test : test.skip)(
  'a processor without tiles, a system that refuses them, a compiler that does not know them',
  async () => {
    const [source, program] = [join(folder, 'tiles.cpp'), join(folder, 'tiles')];
    writeFileSync(source, text);
    await compileFor(host('tiles'), [`-I${join(root, 'runtime/contract')}`, source, '-o', program]);
    const says = (...args: (string | number)[]) => spawnSync(program, args.map(String), { encoding: 'utf8' }).stdout;
    const amx = (1 << 24) | (1 << 25);
    assert.is(says(0, 0, 1), '0 -');
    assert.is(says(amx, 0, 1), '1 -');
    assert.match(says(amx, -1, 1), /^0 Linux does not let this process use its tiles/);
    assert.match(says(amx, 0, 0), /does not know it$/);
  },
);

test.run();
