/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
#include "world/source_file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "util/cleanup.h"
#include "util/log.h"
#include "util/text.h"
#include "world/manifest.h"
#include "world/yaml.h"

/* One manifest file as it was read. */
struct file {
	char *path;
	char *text;
	size_t size;
	int64_t mtime;
	bool public; /* everybody may read it: the notes of secrets change with that */
	int r; /* why it could not be read: negative errno, else 0 */
};

struct files {
	struct file *items;
	size_t count;
	int r; /* why the folder could not be read */
};

#define HANDLES 3 /* event, debounce, poll */

struct source_file {
	char *dir;
	struct files files;             /* as of the last read, to see a change */
	struct manifest_documents good; /* what the world was last made of */

	source_file_changed *changed;
	void *userdata;
	unsigned int handles; /* not closed yet */
	uv_fs_event_t event;
	uv_timer_t debounce, poll;
};

/* ---- reading */

static void files_release(struct files *files)
{
	for (size_t i = 0; i < files->count; i++) {
		free(files->items[i].path);
		free(files->items[i].text);
	}
	free(files->items);
	*files = (struct files){};
}

static bool ends_with(const char *name, const char *end)
{
	size_t length = strlen(name), end_length = strlen(end);

	return length > end_length && strcmp(name + length - end_length, end) == 0;
}

static bool is_status(const char *name)
{
	return ends_with(name, ".status.yaml");
}

static int is_manifest(const struct dirent *entry)
{
	const char *name = entry->d_name;

	return name[0] != '.' && !is_status(name) && (ends_with(name, ".yaml") || ends_with(name, ".yml") || ends_with(name, ".json"));
}

/* Byte order, the same whatever the locale. */
static int by_name(const struct dirent **a, const struct dirent **b)
{
	return strcmp((*a)->d_name, (*b)->d_name);
}

/* One byte more than allowed is read, so that manifest_parse() sees that a file is too large. */
static int read_text(int fd, size_t size, char **ret_text, size_t *ret_size)
{
	size_t wanted = size > YAML_SIZE_MAX ? YAML_SIZE_MAX + 1 : size, done = 0;
	_cleanup_free_ char *text = malloc(wanted + 1);

	if (!text)
		return -ENOMEM;
	while (done < wanted) {
		ssize_t n = read(fd, text + done, wanted - done);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0) /* got shorter meanwhile: the event for that is on its way */
			break;
		done += (size_t)n;
	}
	*ret_text = TAKE_PTR(text);
	*ret_size = done;
	return 0;
}

/* A file to its text. Returns 0 or a negative errno; -EISDIR for whatever is no file. */
static int read_file(struct file *file)
{
	_cleanup_close_ int fd = open(file->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a FIFO must not stop us */
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode))
		return -EISDIR;
	file->mtime = st.st_mtime;
	file->public = st.st_mode & S_IROTH;
	return read_text(fd, (size_t)st.st_size, &file->text, &file->size);
}

/* Takes over the path. Why a file cannot be read is in it. */
static int add_file(struct files *files, char *path)
{
	struct file *bigger = path ? reallocarray(files->items, files->count + 1, sizeof(*bigger)) : NULL;
	struct file *file;

	if (!bigger) {
		free(path);
		return -ENOMEM;
	}
	files->items = bigger;
	file = &files->items[files->count++];
	*file = (struct file){ .path = path };
	file->r = read_file(file);
	return file->r == -ENOMEM ? -ENOMEM : 0;
}

/* The last file is none after all: a folder called x.yaml, or it is gone again. */
static void drop_no_file(struct files *files)
{
	struct file *last = &files->items[files->count - 1];

	if (last->r != -EISDIR && last->r != -ENOENT)
		return;
	free(last->path);
	files->count--;
}

/* Returns 0 or -ENOMEM; all else is in the files themselves. */
static int read_folder(const char *dir, struct files *ret_files)
{
	struct files files = {};
	struct dirent **entries;
	int count = scandir(dir, &entries, is_manifest, by_name), r = 0;

	if (count < 0) {
		if (errno == ENOMEM)
			return -ENOMEM;
		files.r = -errno;
		count = 0;
		entries = NULL;
	}
	for (int i = 0; i < count; i++) {
		if (r == 0)
			r = add_file(&files, text_printf("%s/%s", dir, entries[i]->d_name));
		if (r == 0)
			drop_no_file(&files);
		free(entries[i]);
	}
	free(entries);
	if (r < 0) {
		files_release(&files);
		return r;
	}
	*ret_files = files;
	return 0;
}

static bool files_equal(const struct files *a, const struct files *b)
{
	if (a->count != b->count || a->r != b->r)
		return false;
	for (size_t i = 0; i < a->count; i++) {
		const struct file *x = &a->items[i], *y = &b->items[i];

		if (strcmp(x->path, y->path) != 0 || x->r != y->r || x->public != y->public || x->size != y->size || (x->size && memcmp(x->text, y->text, x->size) != 0))
			return false;
	}
	return true;
}

/* ---- decoding */

/* What is being made: a world, and the documents that it is made of. */
struct build {
	struct world *world;
	struct manifest_documents good;
	struct manifest_errors errors;
};

static void build_release(struct build *b)
{
	world_free(&b->world);
	manifest_documents_release(&b->good);
	manifest_errors_release(&b->errors);
}

/* Returns 0, also when the document is bad and its errors were added; -ENOMEM. */
static int build_document(struct build *b, const struct manifest_document *document)
{
	int r = manifest_decode(document, b->world, &b->errors);

	if (r == 0)
		r = manifest_documents_add(&b->good, document);
	return r == -ENOMEM ? r : 0;
}

static bool among(const struct manifest_documents *documents, const struct manifest_document *document)
{
	for (size_t i = 0; i < documents->count; i++)
		if (manifest_same_object(&documents->items[i], document))
			return true;
	return false;
}

/* What this file (NULL: every file) gave last, and nobody gives now. */
static int build_kept(struct build *b, const struct manifest_documents *last, const char *path)
{
	int r = 0;

	for (size_t i = 0; i < last->count && r == 0; i++)
		if ((!path || strcmp(last->items[i].file, path) == 0) && !among(&b->good, &last->items[i]))
			r = build_document(b, &last->items[i]);
	return r;
}

static int build_documents(struct build *b, const struct file *file)
{
	struct manifest_documents documents = {};
	int r = manifest_parse(file->path, file->text, file->size, file->mtime, &documents, &b->errors);

	for (size_t i = 0; i < documents.count && r == 0; i++)
		r = build_document(b, &documents.items[i]);
	manifest_documents_release(&documents);
	return r;
}

static int build_file(struct build *b, const struct manifest_documents *last, const struct file *file)
{
	size_t errors = b->errors.count;
	int r;

	if (file->r)
		r = manifest_errors_add(&b->errors, file->path, 0, "", "cannot be read: %s", strerror(-file->r));
	else
		r = build_documents(b, file);
	if (r == 0 && b->errors.count > errors)
		r = build_kept(b, last, file->path);
	return r;
}

static int build_folder(struct build *b, const struct source_file *source, const struct files *files)
{
	int r = 0;

	b->world = calloc(1, sizeof(*b->world));
	if (!b->world)
		return -ENOMEM;
	if (files->r) {
		r = manifest_errors_add(&b->errors, source->dir, 0, "", "cannot be read: %s; allowed: a folder of manifests", strerror(-files->r));
		return r < 0 ? r : build_kept(b, &source->good, NULL);
	}
	for (size_t i = 0; i < files->count && r == 0; i++)
		r = build_file(b, &source->good, &files->items[i]);
	return r;
}

/* From files, which it takes over, to a world. */
static int decode_files(struct source_file *source, struct files *files, struct world **ret_world, struct manifest_errors *ret_errors)
{
	struct build b = {};
	int r = build_folder(&b, source, files);

	if (r < 0) {
		build_release(&b);
		files_release(files);
		return r;
	}
	files_release(&source->files);
	source->files = *files;
	manifest_documents_release(&source->good);
	source->good = b.good;
	*ret_world = b.world;
	*ret_errors = b.errors;
	return 0;
}

int source_file_read(struct source_file *source, struct world **ret_world, struct manifest_errors *ret_errors)
{
	struct files files;
	int r = read_folder(source->dir, &files);

	return r < 0 ? r : decode_files(source, &files, ret_world, ret_errors);
}

/* One file, or a folder's. */
static int read_path(const char *path, struct files *ret_files)
{
	struct files files = {};
	struct stat st;
	int r;

	if (stat(path, &st) == 0 && S_ISDIR(st.st_mode))
		return read_folder(path, ret_files);
	r = add_file(&files, strdup(path));
	if (r < 0)
		files_release(&files);
	else
		*ret_files = files;
	return r;
}

int source_file_load(const char *path, struct world **ret_world, struct manifest_errors *ret_errors)
{
	struct source_file source = { .dir = (char *)path }; /* not freed */
	struct files files;
	int r = read_path(path, &files);

	if (r == 0)
		r = decode_files(&source, &files, ret_world, ret_errors);
	files_release(&source.files);
	manifest_documents_release(&source.good);
	return r;
}

/* ---- watching */

static void look(struct source_file *source)
{
	struct manifest_errors errors;
	struct world *world;
	struct files files;
	int r = read_folder(source->dir, &files);

	if (r == 0 && files_equal(&files, &source->files)) {
		files_release(&files);
		return;
	}
	if (r == 0)
		r = decode_files(source, &files, &world, &errors);
	if (r < 0)
		log_err(r, "read %s; the last good manifests stay in force", source->dir); /* the poll tries again */
	else
		source->changed(source->userdata, world, &errors);
}

static void on_debounced(uv_timer_t *timer)
{
	look(timer->data);
}

static void on_event(uv_fs_event_t *event, const char *name, int events, int status)
{
	struct source_file *source = event->data;

	(void)events;
	if (status < 0 || (name && is_status(name))) /* our own status files change each iteration */
		return;
	uv_timer_start(&source->debounce, on_debounced, SOURCE_FILE_DEBOUNCE_MS, 0);
}

/* inotify follows an inode, and a folder put in place of another may even have the same number: so the watch is set anew, not compared. */
static int watch_folder(struct source_file *source)
{
	uv_fs_event_stop(&source->event);
	return uv_fs_event_start(&source->event, on_event, source->dir, 0);
}

static void on_poll(uv_timer_t *timer)
{
	struct source_file *source = timer->data;

	watch_folder(source); /* failing that, the poll is what is left; it was said at the start */
	look(source);         /* also at what happened between the two watches */
}

int source_file_watch(struct source_file *source, uv_loop_t *loop, unsigned int poll_ms, source_file_changed *changed, void *userdata)
{
	int r;

	source->changed = changed;
	source->userdata = userdata;
	source->event.data = source->debounce.data = source->poll.data = source;
	r = uv_fs_event_init(loop, &source->event);
	if (r < 0)
		return r;
	uv_timer_init(loop, &source->debounce);
	uv_timer_init(loop, &source->poll);
	source->handles = HANDLES;

	r = watch_folder(source);
	if (r < 0)
		log_warn("watch %s: %s; changes are seen by reading it every %u ms, raise fs.inotify.max_user_watches", source->dir, strerror(-r),
			 poll_ms);
	uv_timer_start(&source->debounce, on_debounced, 0, 0); /* what changed between the last read and the watch */
	return uv_timer_start(&source->poll, on_poll, poll_ms, poll_ms);
}

static void release(struct source_file *source)
{
	files_release(&source->files);
	manifest_documents_release(&source->good);
	free(source->dir);
	free(source);
}

static void on_closed(uv_handle_t *handle)
{
	struct source_file *source = handle->data;

	if (--source->handles == 0)
		release(source);
}

int source_file_new(const char *dir, struct source_file **ret_source)
{
	struct source_file *source = calloc(1, sizeof(*source));

	if (!source)
		return -ENOMEM;
	source->dir = strdup(dir);
	if (!source->dir) {
		free(source);
		return -ENOMEM;
	}
	*ret_source = source;
	return 0;
}

void source_file_free(struct source_file **source)
{
	struct source_file *s = TAKE_PTR(*source);

	if (!s)
		return;
	if (!s->handles)
		return release(s);
	uv_close((uv_handle_t *)&s->event, on_closed);
	uv_close((uv_handle_t *)&s->debounce, on_closed);
	uv_close((uv_handle_t *)&s->poll, on_closed);
}
