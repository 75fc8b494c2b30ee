//go:build unix
package lab
import ("testing";"fmt";"time";"context")
func TestTmpCost(t *testing.T) {
	for _, r := range []struct{fs, mkfs, mount, check string; size uint64}{
		{"ext4", "mkfs.ext4 -q -b 4096", "mount -t ext4 -o dax", "e2fsck -fn", 32<<20},
		{"ext4", "mkfs.ext4 -q -b 4096 -N 64", "mount -t ext4 -o dax", "e2fsck -fn", 32<<20},
		{"ext4", "mkfs.ext4 -q -b 4096 -N 64", "mount -t ext4 -o dax", "e2fsck -fn", 16<<20},
		{"xfs", "mkfs.xfs -q -f --unsupported", "mount -t xfs -o dax=always,nouuid", "xfs_repair -n", 64<<20},
		{"xfs", "mkfs.xfs -q -f --unsupported", "mount -t xfs -o dax=always,nouuid", "xfs_repair -n -P", 64<<20},
		{"xfs", "mkfs.xfs -q -f --unsupported -d agcount=1", "mount -t xfs -o dax=always,nouuid", "xfs_repair -n -P", 64<<20},
		{"xfs", "mkfs.xfs -q -f --unsupported -d agcount=1", "mount -t xfs -o dax=always,nouuid", "xfs_repair -n -P", 32<<20},
		{"xfs", "mkfs.xfs -q -f --unsupported -d agcount=2 -l size=4m", "mount -t xfs -o dax=always,nouuid", "xfs_repair -n -P", 64<<20},
	} {

			x := vmExperiment(t)
			backend, err := x.FileBackend(FileBackendOptions{Path: "pmem0.img", Size: r.size, Share: true})
			if err != nil { t.Fatal(err) }
			var o VMOptions
			o.Slots, o.MaxMem, o.Packages = 1, 4<<30, []string{"xfsprogs","attr"}
			v, err := x.VM(o)
			if err != nil { t.Fatal(err) }
			if _, err := v.Plug(PlugOptions{Backend: backend, ID: "nvdimm1"}); err != nil { t.Fatal(err) }
			mustBoot(t, v)
			if rr, err := v.Run(t.Context(), Command{Shell:"ndctl create-namespace -f -e namespace0.0 -m fsdax -M mem -a 4K >/dev/null && "+r.mkfs+" /dev/pmem0 && modprobe "+r.fs}); err != nil || rr.ExitCode != 0 { fmt.Println("FAIL", r, rr, err); continue }
			setup := "cd /mnt; xfs_io -f -c 'pwrite -q -S 0x66 0 6000' foo; mkdir A B; xfs_io -f -c 'pwrite -q -S 0x61 0 100' A/foo; setfattr -n user.old -v value A/foo; ln -s A/foo C;cd /;sync"
			mustRun(t, v, r.mount+" /dev/pmem0 /mnt && "+setup+" && umount /mnt")
			base, err := v.Snapshot()
			if err != nil { t.Fatal(err) }
			m := r.mount+" /dev/pmem0 /mnt"
			look := "cd /mnt && stat -c '%n %F links=%h size=%s' $(find . | sort) && (getfattr -h -R -d . | grep . || true) && for f in $(find . -type f | sort); do echo \"bytes of $f:\"; cat $f; echo; done; cd /"
			cheap := "cd /mnt && find . -exec stat -c '%n %F links=%h size=%s' {} + && find . -type f -exec tail -v -c +1 {} + && getfattr -h -R -d . ; cd /"
			_, _ = look, cheap
			for _, c := range []string{m, r.check+" /dev/pmem0 >/dev/null", m+" && xfs_info /mnt"} {
				best := time.Hour
				var n uint64
				var out string
				for range 3 {
				f, err := base.Fork(context.Background(), nil)
				if err != nil { t.Fatal(err) }
				before := f.Stats().Instructions
				start := time.Now()
				res, err := f.Run(context.Background(), Command{Shell: c})
				if err != nil { t.Fatal(err) }
				best = min(best, time.Since(start))
				n = f.Stats().Instructions-before
				out = string(res.Stdout)+string(res.Stderr)
				f.drop()
				}
				if len(out) > 800 { out = out[:300] }
				fmt.Printf("%v: %.2f M in %v: %q -> %q\n", r, float64(n)/1e6, best, c, out)
			}
	}
}
